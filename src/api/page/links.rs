//! Links of the status page: to targets, to runbooks, and to the endpoints.

use crate::api::html::{Html, html};
use crate::web::ServerSettings;

/// Makes links below the prefix that clients see.
pub(in crate::api) struct Links {
    base: String,
    telemetry: String,
}

impl Links {
    pub(in crate::api) fn new(settings: &ServerSettings) -> Self {
        Self { base: settings.outside_prefix(), telemetry: settings.telemetry_path.clone() }
    }

    /// The address of the overview.
    pub(in crate::api) fn home(&self) -> String {
        format!("{}/", self.base)
    }

    /// The address of one target's page.
    pub(super) fn target(&self, name: &str) -> String {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        format!("{}/?target={name}", self.base)
    }

    /// A link to a runbook.
    pub(super) fn runbook(&self, name: &'static str) -> Html {
        let address = format!("{}/runbook?name={name}", self.base);
        html("<a href=\"{}\" data-key=\"book-{}\">Runbook: {}</a>", &[&address, &name, &name])
    }

    /// The footer with every endpoint.
    pub(in crate::api) fn footer(&self) -> Html {
        let metrics = (self.telemetry.as_str(), "metrics for Prometheus");
        let all = [metrics].into_iter().chain(LINKS.iter().copied());
        let items: Html = all
            .map(|(path, meaning)| {
                let address = format!("{}{path}", self.base);
                html(
                    "<li><a href=\"{}\" title=\"{}\"><code>{}</code></a></li>",
                    &[&address, &meaning, &path],
                )
            })
            .collect();
        html(
            "<footer><p>db_pool_exporter {}. No outside request, no statement to the database for this page.</p>\
             <nav aria-label=\"Endpoints\"><ul>{}</ul></nav></footer>",
            &[&env!("CARGO_PKG_VERSION"), &items],
        )
    }
}

const LINKS: &[(&str, &str)] = &[
    ("/probe", "a fresh probe of one target, with ?target=NAME"),
    ("/api/v1/health", "the verdict on every target, for load balancers"),
    ("/api/v1/targets", "this page as JSON, with phases and errors"),
    ("/api/v1/database/pool/status", "a pool in numbers"),
    ("/api/v1/database/pool/health", "a pool's checks"),
    ("/api/v1/database/slow-queries", "slow queries that run now"),
    ("/api/v1/sd", "the targets, for Prometheus' service discovery"),
    ("/api/v1/openapi.json", "the description of all this"),
    ("/runbook", "what to do, alert by alert"),
    ("/-/healthy", "whether the exporter is alive"),
    ("/-/ready", "whether every target was probed once"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ROUTES;
    use crate::web::Verb;

    #[test]
    fn every_page_that_can_be_looked_at_has_its_link() {
        let looked_at = ROUTES.iter().filter(|route| route.verb == Verb::Get && route.path != "/");
        for route in looked_at.skip(1) {
            assert!(LINKS.iter().any(|(path, _)| *path == route.path), "{}", route.path);
        }
        assert_eq!(LINKS.len() + 2, ROUTES.iter().filter(|r| r.verb == Verb::Get).count());
    }
}
