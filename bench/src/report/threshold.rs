//! Bounds on figures, for machines that watch: a run that breaks one ends with a status of its own.
//!
//! Input: expressions such as `lost <= 0`, `cpu_ns_per_packet <= 1.15 * bare:uring.cpu_ns_per_packet` or
//! `cpu_ns_per_packet < 1.1 * baseline.cpu_ns_per_packet`. Output: those that do not hold, in words. Owns nothing.
//!
//! ```text
//!   EXPR  := TERM OP TERM          OP := < <= > >=
//!   TERM  := NUMBER | FIGURE | NUMBER * FIGURE
//! ```

use std::collections::BTreeMap;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    left: Term,
    comparison: Comparison,
    right: Term,
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    factor: f64,
    figure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// Longer ones first: `<` begins `<=` too.
const COMPARISONS: [(&str, Comparison); 4] =
    [("<=", Comparison::AtMost), (">=", Comparison::AtLeast), ("<", Comparison::Below), (">", Comparison::Above)];

#[derive(Debug, thiserror::Error)]
pub enum ThresholdError {
    #[error("`{0}` compares nothing: expected FIGURE <= NUMBER, or one of < > >=")]
    NoComparison(String),
    #[error("`{0}` is neither a number, a figure, nor NUMBER * FIGURE")]
    Term(String),
    #[error("there is no figure `{figure}` in this run; there are: {known}")]
    Unknown { figure: String, known: String },
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let found = COMPARISONS.iter().find_map(|(sign, comparison)| Some((text.split_once(sign)?, *comparison)));
        let ((left, right), comparison) = found.ok_or_else(|| ThresholdError::NoComparison(text.into()))?;
        Ok(Threshold { text: text.trim().into(), left: left.parse()?, comparison, right: right.parse()? })
    }
}

impl FromStr for Term {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let wrong = || ThresholdError::Term(text.trim().into());
        let (factor, rest) = match text.split_once('*') {
            Some((factor, rest)) => (factor.trim().parse().map_err(|_| wrong())?, rest.trim()),
            None => (1.0, text.trim()),
        };
        if let Ok(number) = rest.parse::<f64>() {
            return Ok(Term { factor: factor * number, figure: None });
        }
        let is_name = !rest.is_empty() && !rest.contains(char::is_whitespace);
        if is_name { Ok(Term { factor, figure: Some(rest.into()) }) } else { Err(wrong()) }
    }
}

impl Term {
    fn value(&self, figures: &BTreeMap<String, f64>) -> Result<f64, ThresholdError> {
        let Some(figure) = &self.figure else { return Ok(self.factor) };
        let known = || figures.keys().cloned().collect::<Vec<_>>().join(", ");
        let value =
            figures.get(figure).ok_or_else(|| ThresholdError::Unknown { figure: figure.clone(), known: known() })?;
        Ok(self.factor * value)
    }
}

impl Threshold {
    /// In words how it is broken; nothing if it holds.
    pub fn broken(&self, figures: &BTreeMap<String, f64>) -> Result<Option<String>, ThresholdError> {
        let (left, right) = (self.left.value(figures)?, self.right.value(figures)?);
        let holds = match self.comparison {
            Comparison::Below => left < right,
            Comparison::AtMost => left <= right,
            Comparison::Above => left > right,
            Comparison::AtLeast => left >= right,
        };
        Ok((!holds).then(|| format!("{}: {left:.3} against {right:.3}", self.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> bool {
        let figures =
            BTreeMap::from([("lost".to_owned(), 3.0), ("bare:uring.cpu".to_owned(), 100.0), ("cpu".to_owned(), 114.0)]);
        text.parse::<Threshold>().expect("well-formed").broken(&figures).expect("figures are known").is_some()
    }

    #[test]
    fn figures_are_compared_with_numbers_and_with_each_other() {
        assert!(broken("lost <= 2") && !broken("lost <= 3") && broken("lost<3") && !broken("lost > 2.5"));
        assert!(!broken("cpu <= 1.15 * bare:uring.cpu") && broken("cpu <= 1.1*bare:uring.cpu"));
    }

    #[test]
    fn nonsense_and_unknown_figures_are_refused() {
        for bad in ["lost", "lost = 3", "a b < 3", "x*lost < 3", "< 3"] {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
        let unknown =
            "found < 3".parse::<Threshold>().expect("well-formed").broken(&BTreeMap::from([("lost".into(), 1.0)]));
        assert!(unknown.expect_err("unknown").to_string().contains("there are: lost"));
    }
}
