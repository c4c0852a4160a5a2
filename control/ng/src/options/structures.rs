//! Options whose value is more than words: changes of attribute lines.
//!
//! Input: the dictionary `sdp-attr`, or one flag `sdp-attr-add-audio-…`. Output: [`Options::sdp_attributes`]. Bounded by the
//! message, which names each change.

use super::types::*;
use super::{Options, words::lower};
use crate::dictionary::Value;

/// `{"audio": {"add": ["ptime:20"], "substitute": [["sendrecv", "sendonly"]]}}`.
pub fn sdp_attributes(options: &mut Options, value: &Value) -> bool {
    let Some(sections) = value.as_dict() else { return false };
    sections.iter().all(|(name, edits)| match (section(name), edits.as_dict()) {
        (Some(section), Some(edits)) => {
            edits.iter().all(|(command, values)| sdp_attribute_edits(options, section, command, values))
        }
        _ => false,
    })
}

fn sdp_attribute_edits(options: &mut Options, section: AttributeSection, command: &str, values: &Value) -> bool {
    let Some(values) = values.as_list() else { return false };
    let is_one_pair = command == "substitute" && values.iter().all(|value| value.as_text().is_some());
    let one_pair = [Value::List(values.to_vec())];
    let values = if is_one_pair { &one_pair[..] } else { values };
    values.iter().all(|value| {
        let change = attribute_edit(command, value).map(|change| AttributeChange { section, change });
        let known = change.is_some();
        options.sdp_attributes.extend(change);
        known
    })
}

fn attribute_edit(command: &str, value: &Value) -> Option<AttributeEdit> {
    match command {
        "add" => Some(AttributeEdit::Add(value.as_text()?.to_owned())),
        "remove" => Some(AttributeEdit::Remove(value.as_text()?.to_owned())),
        "substitute" => match value.as_list()? {
            [from, to, ..] => {
                Some(AttributeEdit::Substitute { from: from.as_text()?.to_owned(), to: to.as_text()?.to_owned() })
            }
            _ => None,
        },
        _ => None,
    }
}

/// The rest of a flag `sdp-attr-COMMAND-`: section, hyphen, attribute. `--` stands for `=`, `..` for a space, and `>` divides what
/// is substituted from what comes in its place.
pub fn sdp_attribute_flag(options: &mut Options, command: &str, rest: &str) -> bool {
    let Some((name, attribute)) = rest.split_once('-') else { return false };
    let attribute = attribute.replace("--", "=").replace("..", " ");
    let value = match (command, attribute.split_once('>')) {
        ("substitute", Some((from, to))) => Value::List(vec![from.into(), to.into()]),
        _ => Value::Text(attribute),
    };
    match (section(name), attribute_edit(command, &value)) {
        (Some(section), Some(change)) => options.sdp_attributes.push(AttributeChange { section, change }),
        _ => return false,
    }
    true
}

fn section(name: &str) -> Option<AttributeSection> {
    match lower(name).as_str() {
        "none" | "global" => Some(AttributeSection::Session),
        "audio" => Some(AttributeSection::Audio),
        "video" => Some(AttributeSection::Video),
        _ => None,
    }
}
