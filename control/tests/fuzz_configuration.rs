//! Bytes from anywhere as a configuration file: either settings or an error that names a line of the file.
//!
//! Runs in the ordinary tests over the committed corpus (`__fuzz__`) and random inputs;
//! `cargo bolero test --package crosspoint-control configuration_files` goes on from there.

use crosspoint_control::shell::settings::{FileError, KEYS, Origin, SettingsError, resolve};

#[test]
fn configuration_files() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let lines = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
        match resolve(Some(("fuzz.toml", text)), |_| None, |_| None) {
            Ok(effective) => {
                // Accepted text makes settings without a panic, and every value knows its line.
                let _ = effective.check();
                assert_eq!(effective.iter().count(), KEYS.len());
                for (_, _, origin) in effective.iter() {
                    assert!(
                        matches!(origin, Origin::Default) || matches!(origin, Origin::File(_, line) if *line <= lines)
                    );
                }
            }
            Err(SettingsError::File { error, .. }) => {
                let (FileError::Syntax { line, .. }
                | FileError::UnknownKey { line, .. }
                | FileError::UnknownSection { line, .. }
                | FileError::WrongType { line, .. }) = error;
                assert!((1..=lines).contains(&line), "line {line} of {lines}");
            }
            Err(_) => panic!("the file's values are checked with their lines"),
        }
    });
}

#[test]
fn corpus_has_a_file_that_is_accepted_and_files_that_are_not() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/__fuzz__/configuration_files/corpus");
    let accepted = |name: &str| {
        let text = std::fs::read_to_string(format!("{corpus}/{name}")).expect(name);
        resolve(Some((name, &text)), |_| None, |_| None).is_ok()
    };
    assert!(accepted("every_key.toml"), "a key was renamed: crosspoint config > every_key.toml");
    for name in ["unknown_key.toml", "wrong_type.toml", "not_toml.toml", "deep.toml", "table_for_value.toml"] {
        assert!(!accepted(name), "{name}");
    }
}
