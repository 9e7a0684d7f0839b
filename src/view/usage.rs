//! One connection pool at one moment, whoever owns it, in one vocabulary.
//!
//! Health and the JSON read only this, so that the application's pool can take the place of our own
//! as soon as it is known. `Option` is for what is not known or has no limit: never 0 for either.

/// Who told us of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The application's own status endpoint; exact.
    Endpoint,
    /// The sessions that the server shows; `active` is a lower bound.
    Activity,
    /// The exporter's own probe pool.
    Exporter,
}

impl Source {
    /// The word in labels and answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Activity => "activity",
            Self::Exporter => "exporter",
        }
    }
}

/// How one pool is used. With several processes, all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Checked out.
    pub active: u64,
    /// Open and not checked out.
    pub idle: u64,
    /// Open.
    pub open: u64,
    /// Open above the size; never below 0.
    pub overflow: u64,
    /// Connections that the pool keeps; `None` without a limit, or when it is not known.
    pub size: Option<u32>,
    /// Connections beyond it; `None` likewise.
    pub max_overflow: Option<u32>,
    /// Both together; `None` likewise.
    pub max: Option<u32>,
    /// Who says so.
    pub source: Source,
}

impl Usage {
    /// Checked out, in percent of the size; over 100 in overflow, `None` without a limit.
    pub fn utilization_percent(&self) -> Option<f64> {
        self.max?;
        let size = self.size.filter(|size| *size > 0)?;
        Some(self.active as f64 / f64::from(size) * 100.0)
    }

    /// Checked out, as a part of all that there may be; `None` without a limit.
    pub fn saturation_ratio(&self) -> Option<f64> {
        let max = self.max.filter(|max| *max > 0)?;
        Some(self.active as f64 / f64::from(max))
    }

    /// Whether the next check-out waits. Never without a limit.
    pub fn is_saturated(&self) -> bool {
        self.max.is_some_and(|max| max > 0 && self.active >= u64::from(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(active: u64, size: Option<u32>, max: Option<u32>) -> Usage {
        Usage {
            active,
            idle: 0,
            open: active,
            overflow: 0,
            size,
            max_overflow: None,
            max,
            source: Source::Exporter,
        }
    }

    #[test]
    fn ratios_are_of_what_is_checked_out() {
        let five = usage(5, Some(20), Some(30));
        assert_eq!(five.utilization_percent(), Some(25.0));
        assert_eq!(usage(15, Some(20), Some(30)).saturation_ratio(), Some(0.5));
        assert!(!usage(29, Some(20), Some(30)).is_saturated());
        assert!(usage(30, Some(20), Some(30)).is_saturated());
    }

    #[test]
    fn without_a_limit_there_is_no_ratio() {
        for unlimited in [usage(5, None, None), usage(5, Some(20), None), usage(5, Some(0), None)] {
            assert_eq!(unlimited.utilization_percent(), None);
            assert_eq!(unlimited.saturation_ratio(), None);
            assert!(!unlimited.is_saturated());
        }
    }
}
