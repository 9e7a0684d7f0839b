//! The effective configuration of a target, each value with its source. Secrets never come here.

use crate::api::html::{Html, html};

/// One effective value of the configuration, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The sections around the key, and the key.
    pub path: Vec<String>,
    /// The value, without secrets.
    pub value: String,
    /// The source of the value: default, file, environment or url.
    pub source: String,
}

/// The settings of one target.
pub(super) fn settings(name: &str, all: &[Setting]) -> Html {
    let own = all.iter().filter_map(|setting| match setting.path.as_slice() {
        [section, target, rest @ ..] if section == "targets" && target == name => {
            Some((rest.join("."), setting))
        }
        _ => None,
    });
    let rows: Html = own.map(|(key, setting)| row(&key, setting)).collect();
    if rows.is_empty() {
        return Html::default();
    }
    html(
        "<section aria-labelledby=\"settings\"><details id=\"settings-details\" class=\"card\">\
         <summary data-key=\"settings\"><span id=\"settings\">Configuration and its sources</span></summary>\
         <table class=\"settings stack\"><thead><tr><th scope=\"col\">Key</th><th scope=\"col\">Value</th><th scope=\"col\">Source</th></tr></thead>\
         <tbody>{}</tbody></table></details></section>",
        &[&rows],
    )
}

/// A file or a command for a password says where to look for it, so only that there is one is shown.
fn row(key: &str, setting: &Setting) -> Html {
    let is_password = key.split('.').any(|part| part.starts_with("password"));
    let value = if is_password && setting.value != "none" { "set" } else { &setting.value };
    html(
        "<tr><th scope=\"row\" class=\"long\"><code>{}</code></th><td class=\"long\"><code>{}</code></td><td class=\"soft\">{}</td></tr>",
        &[&key, &value, &setting.source],
    )
}
