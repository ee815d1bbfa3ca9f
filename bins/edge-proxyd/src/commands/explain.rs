//! The command `explain`: explains how a request would be handled, by running the actual decision functions.

mod report;
mod request;

use crate::cli::{Exit, ExplainArgs};
use crate::config;

pub(crate) fn run(args: &ExplainArgs) -> Exit {
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
        // Contains only text and numbers, so serialisation cannot fail.
        println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        print!("{report}");
    }
    Exit::Done
}
