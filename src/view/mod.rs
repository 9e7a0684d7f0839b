//! What the server tells us beside our own pool: one file a view.
