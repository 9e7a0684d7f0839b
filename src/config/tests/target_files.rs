//! `targets_from`: each file stands for itself.
//!
//! | what is in the folder | what follows |
//! | --- | --- |
//! | good files | their targets, with the `defaults` of the configuration file |
//! | a broken one, never good | it is refused with its problems; all others live |
//! | a broken one, good before | what it last had lives on |
//! | an empty one | broken: it may be half written |
//! | one that is removed | its targets end |
//! | two with the same target, none read before | the second by path is refused, and names the first |
//! | one that takes a target of a file that runs | it is refused, whatever its name |
//! | a target that moves from one file to another | both are good |
//! | a target of the configuration file | the file is refused, and names it |
//! | hidden files, other endings | not looked at |
//! | no folder, or no file in it | a warning |
//! | the configuration file is edited meanwhile | not read for a change of these |

use std::fs;

use super::*;

/// A folder with a configuration file, and a loader that remembers.
struct Place {
    folder: tempfile::TempDir,
    loader: Loader,
}

impl Place {
    fn new(main: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        let file = folder.path().join("exporter.yml");
        fs::write(&file, main).unwrap();
        let environment = BTreeMap::from([("USER".to_owned(), "somebody".to_owned())]);
        let loader = Loader::new(environment, Some(file), FileReader::default());
        Self { folder, loader }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// A file with targets of these names.
    fn targets(&self, file: &str, names: &[&str]) {
        let targets: Vec<String> = names
            .iter()
            .map(|name| format!("{name}: {{ url: 'postgresql://u@{name}/d' }}"))
            .collect();
        self.write(&format!("conf.d/{file}"), &format!("targets: {{ {} }}", targets.join(", ")));
    }

    fn load(&self) -> Config {
        self.loader.load(Reread::TargetFiles).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

const MAIN: &str = "targets_from: conf.d/*.yml\ndefaults: { interval: 20s }\n";

fn names(config: &Config) -> Vec<&str> {
    config.targets.iter().map(|target| target.name.as_str()).collect()
}

/// The names of the refused files, and whether what they last had lives on.
fn refused(config: &Config) -> Vec<(&str, bool)> {
    config.target_files.refused.iter().map(|file| (file.name.as_str(), file.lives_on)).collect()
}

fn problems(config: &Config) -> String {
    let all = config.target_files.refused.iter();
    all.map(|file| file.problems.to_string()).collect::<Vec<_>>().join("\n")
}

#[test]
fn files_add_targets_with_the_defaults_of_the_configuration_file() {
    let place = Place::new(&format!("{MAIN}targets: {{ m: {{ url: 'postgresql://u@m/d' }} }}"));
    place.targets("b.yml", &["z", "n"]);
    place.write("conf.d/secret", "pw");
    place.write(
        "conf.d/a.yml",
        "targets: { a: { url: 'postgresql://u@a/d', password_file: secret } }",
    );
    place.targets(".hidden.yml", &["h"]);
    place.targets("other.yaml", &["o"]);
    let config = place.load();
    assert_eq!(names(&config), ["a", "m", "n", "z"], "no `default`, which nobody asked for");
    assert_eq!((config.target_files.good, refused(&config)), (2, vec![]));
    assert!(
        config.targets.iter().all(|target| target.schedule.interval == Duration::from_secs(20))
    );
    assert_eq!(password(&config, 0), Some("pw"), "paths begin at the file's own folder");
    let entry = config.entries.iter().find(|entry| entry.path == ["targets", "n", "url"]).unwrap();
    assert_eq!(entry.origin.to_string(), "file: conf.d/b.yml: targets.n.url");
}

#[test]
fn a_broken_file_is_refused_alone_and_what_it_last_had_lives_on() {
    let place = Place::new(MAIN);
    place.targets("a.yml", &["a"]);
    place.targets("b.yml", &["b"]);
    place.write(
        "conf.d/new.yml",
        "targets: { x: { url: 'postgresql://u:s3cr3t@h:x/d', colour: 1 } }",
    );
    let config = place.load();
    assert_eq!(names(&config), ["a", "b"]);
    assert_eq!(refused(&config), [("conf.d/new.yml", false)]);
    let text = problems(&config);
    assert!(text.contains("conf.d/new.yml: targets.x.colour: is not a known key"), "{text}");
    assert!(text.contains("conf.d/new.yml: targets.x.url: ") && !text.contains("s3cr3t"), "{text}");
    for broken in [
        "",
        "targets: {}",
        "targets: [",
        "x: 1",
        "- a",
        "targets: { default: { url: 'postgresql://u@h/d' } }",
        "defaults: { interval: 1s }\ntargets: { b2: { url: 'postgresql://u@h/d' } }",
    ] {
        place.write("conf.d/b.yml", broken);
        let config = place.load();
        assert_eq!(names(&config), ["a", "b"], "{broken:?}");
        assert_eq!(refused(&config)[0], ("conf.d/b.yml", true), "{broken:?}");
        assert!(problems(&config).contains("conf.d/b.yml: "), "{}", problems(&config));
    }
    place.targets("b.yml", &["b", "b2"]);
    fs::remove_file(place.folder.path().join("conf.d/new.yml")).unwrap();
    fs::remove_file(place.folder.path().join("conf.d/a.yml")).unwrap();
    let config = place.load();
    assert_eq!((names(&config), refused(&config)), (vec!["b", "b2"], vec![]));
}

#[test]
fn a_target_belongs_to_the_file_that_had_it_first() {
    let place = Place::new(MAIN);
    place.targets("b.yml", &["x", "y"]);
    place.targets("c.yml", &["y", "z"]);
    let config = place.load();
    assert_eq!(names(&config), ["x", "y"], "a file is refused as a whole");
    assert_eq!(refused(&config), [("conf.d/c.yml", false)]);
    assert_eq!(problems(&config), "conf.d/c.yml: targets.y: is also in conf.d/b.yml");
    // Its name comes first, but the other one runs.
    place.targets("a.yml", &["x"]);
    fs::remove_file(place.folder.path().join("conf.d/c.yml")).unwrap();
    let config = place.load();
    assert_eq!(problems(&config), "conf.d/a.yml: targets.x: is also in conf.d/b.yml");
    // The target moves.
    place.targets("b.yml", &["y"]);
    let config = place.load();
    assert_eq!((names(&config), refused(&config)), (vec!["x", "y"], vec![]));
}

#[test]
fn a_target_of_the_configuration_file_is_not_taken_over() {
    let place = Place::new(&format!("{MAIN}targets: {{ m: {{ url: 'postgresql://u@m/d' }} }}"));
    place.targets("a.yml", &["m", "n"]);
    let config = place.load();
    assert_eq!(names(&config), ["m"]);
    assert_eq!(problems(&config), "conf.d/a.yml: targets.m: is also in exporter.yml");
}

#[test]
fn a_change_of_these_files_reads_nothing_else() {
    let place = Place::new(MAIN);
    place.targets("a.yml", &["a"]);
    assert_eq!(names(&place.load()), ["a"]);
    place.write("exporter.yml", "nonsense: [");
    place.targets("b.yml", &["b"]);
    let config = place.load();
    assert_eq!(names(&config), ["a", "b"]);
    assert_eq!(config.targets[1].schedule.interval, Duration::from_secs(20));
    assert!(place.loader.load(Reread::All).is_err());
    assert_eq!(names(&place.load()), ["a", "b"], "the last good one stays");
}

#[test]
fn nothing_that_matches_is_warned_of_and_bad_patterns_are_refused() {
    for main in ["targets_from: none.d/*.yml", "targets_from: [ conf.d/*.yml ]"] {
        let config = Place::new(main).load();
        assert_eq!(names(&config), [""; 0]);
        assert!(
            config.warnings[0].starts_with("targets_from: no file matches "),
            "{:?}",
            config.warnings
        );
    }
    for bad in ["conf.d/*", "c*/x.yml", "''", "[]", "5", "{ a: 1 }", "conf.d/*.json"] {
        let place = Place::new(&format!("targets_from: {bad}"));
        let problems = place.loader.load(Reread::All).err().expect(bad).to_string();
        assert!(
            problems.starts_with("targets_from: must be a pattern of files"),
            "{bad}: {problems}"
        );
    }
}
