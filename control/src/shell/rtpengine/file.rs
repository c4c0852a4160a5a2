//! rtpengine's configuration file: GLib's key file format, line by line.
//!
//! Input: the file's text. Output: the entries of one section, each with its line, and what is to be warned of. Knows no
//! option. INI readers at hand keep no line numbers and take `:` for `=`; this one reads what GLib reads.

/// `key = value` in line `line`, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: String,
    pub line: usize,
}

/// The entries of `[section]`, of a key that stands twice only the last. A section may come in several pieces.
pub fn section_of(text: &str, section: &str) -> Result<(Vec<Entry>, Vec<String>), String> {
    let (mut entries, mut warnings) = (Vec::<Entry>::new(), Vec::new());
    let (mut here, mut is_there) = (false, false);
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = name == section;
            is_there |= here;
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(format!("line {number}: neither [section] nor key = value nor # comment: {line:?}"));
        };
        if here {
            let entry = Entry { key: key.trim().to_owned(), value: value.trim().to_owned(), line: number };
            take(entry, &mut entries, &mut warnings);
        }
    }
    if is_there {
        Ok((entries, warnings))
    } else {
        Err(format!("it has no section [{section}]; name another with --config-section"))
    }
}

fn take(entry: Entry, entries: &mut Vec<Entry>, warnings: &mut Vec<String>) {
    if let Some(at) = entries.iter().position(|before| before.key == entry.key) {
        let before = entries.remove(at);
        warnings.push(format!("line {}: {} again; line {} is without effect", entry.line, entry.key, before.line));
    }
    entries.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_of_two_equal_keys_counts_and_the_other_is_named() {
        let (entries, warnings) = section_of("[a]\ntos = 1\n[b]\ntos=2\n[a]\n# x\ntos=3\n", "a").expect("read");
        assert_eq!(entries, [Entry { key: "tos".into(), value: "3".into(), line: 7 }]);
        assert_eq!(warnings, ["line 7: tos again; line 2 is without effect"]);
    }

    #[test]
    fn line_that_says_nothing_is_named_and_so_is_a_section_that_is_not_there() {
        let error = section_of("[a]\n\nlisten\n", "a").expect_err("a stray line");
        assert_eq!(error, "line 3: neither [section] nor key = value nor # comment: \"listen\"");
        assert!(section_of("[a]\n", "b").expect_err("none").contains("[b]"));
    }
}
