//! Progress on the terminal while a run takes its time; nothing where standard error is no terminal, or by `--quiet`.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;

#[derive(Clone, Copy, Debug)]
pub struct Progress {
    is_shown: bool,
}

impl Progress {
    pub fn new(quiet: bool) -> Progress {
        Progress { is_shown: !quiet && std::io::stderr().is_terminal() }
    }

    pub fn bar(&self, steps: u64, what: &str) -> ProgressBar {
        if !self.is_shown {
            return ProgressBar::hidden();
        }
        // Four times a second: drawing takes time of a core that is measured.
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(4));
        let style = ProgressStyle::with_template("{msg:32} {bar:40} {percent:>3} %  {eta} left");
        bar.set_style(style.expect("the template is well-formed"));
        bar.set_message(what.to_owned());
        bar
    }
}
