//! `explain`: says what would become of a request, by asking those who decide.

mod report;
mod request;

use crate::cli::{Exit, Explain};
use crate::config;

pub(crate) fn run(args: &Explain) -> Exit {
    let snapshot = match config::load(&args.config) {
        Ok((_, snapshot)) => snapshot,
        Err(problems) => {
            problems.report(args.json);
            return Exit::Wrong;
        }
    };
    let head = match request::head(args) {
        Ok(head) => head,
        Err(why) => {
            eprintln!("edge-proxyd explain: {why}");
            return Exit::Wrong;
        }
    };
    let report = report::Explanation::new(&snapshot, args, head);
    if args.json {
        // Text and numbers only: nothing in it cannot be written.
        println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        print!("{report}");
    }
    Exit::Done
}
