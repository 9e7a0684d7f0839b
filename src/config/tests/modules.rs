//! Login modules of `/probe`.

use super::*;

#[test]
fn modules_are_checked() {
    let module = |text: &str| format!("auth_modules: {{ app: {text} }}");
    let login = "type: userpass, userpass: { username: m }";
    let place = "auth_modules.app.allowed_targets: ";
    one(&[], &module(&format!("{{ {login} }}")), &format!("{place}is missing"));
    for bad in ["10.0.0.0/33", "a:0", "a:x", "*.x:70000", "", "a b", "x/8"] {
        let text = module(&format!("{{ {login}, allowed_targets: ['{bad}'] }}"));
        one(&[], &text, &format!("{place}must be a list"));
    }
    let text = module(&format!("{{ {login}, allowed_targets: [a], options: {{ sslmod: x }} }}"));
    one(&[], &text, "auth_modules.app.options.sslmod: is not a parameter");
    let text = module(&format!("{{ {login}, allowed_targets: [a], options: {{ sslmode: x }} }}"));
    one(&[], &text, "auth_modules.app.options.sslmode: must be one of");
    let text = module(&format!("{{ {login}, allowed_targets: [a], options: {{ passfile: x }} }}"));
    one(&[], &text, "auth_modules.app.options.passfile: is not an option of a module");
    let weak = "{ sslmode: require, sslrootcert: system }";
    let text = module(&format!("{{ {login}, allowed_targets: [a], options: {weak} }}"));
    one(&[], &text, "auth_modules.app.options.sslmode: ");
}

#[test]
fn all_problems_of_a_module_are_reported_at_once() {
    let text = "auth_modules: { app: { timeout: x, options: { host: a, sslmode: b }, allowed_targets: ['10.0.0.0/33'], other: 1 } }";
    let problems = load_text(&[], text, FileFormat::Yaml).err().unwrap().to_string();
    for place in [
        "type",
        "userpass.username",
        "timeout",
        "options.host",
        "options.sslmode",
        "allowed_targets",
        "other",
    ] {
        assert!(problems.contains(&format!("auth_modules.app.{place}: ")), "{place} in {problems}");
    }
}
