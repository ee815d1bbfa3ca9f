//! The command `explain`: explains how a request would be handled, by running the actual decision functions.

mod answer;
mod certificate;
mod connection;
mod readings;
mod report;
mod request;

use crate::cli::{Exit, ExplainArgs};
use crate::config;
use crate::service::maintenance::{self, Switches};
use edge_proxy::Snapshot;

pub(crate) fn run(mut args: ExplainArgs) -> Exit {
    if let Some(url) = args.url.take()
        && let Err(why) = request::take_url(&url, &mut args)
    {
        eprintln!("edge-proxyd explain: {why}");
        return Exit::Wrong;
    }
    let args = &args;
    let (mut settings, mut snapshot) = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.report(args.json);
            return Exit::Wrong;
        }
    };
    if !args.no_files {
        let folder = args.state.clone().unwrap_or_else(maintenance::default_folder);
        // Only the account of the service may be able to read it.
        Switches::read(Some(folder)).unwrap_or_default().apply(&mut settings.proxy);
        if let Ok(switched) = Snapshot::new(settings.proxy.clone()) {
            snapshot = switched;
        }
    }
    let head = match request::head(args) {
        Ok(head) => head,
        Err(why) => {
            eprintln!("edge-proxyd explain: {why}");
            return Exit::Wrong;
        }
    };
    let certificates = if args.no_files {
        certificate::CertificateSource::Unneeded
    } else {
        certificate::CertificateSource::load(&settings)
    };
    let report = report::Explanation::new(&snapshot, args, head, &certificates);
    if args.json {
        // Contains only text and numbers, so serialisation cannot fail.
        println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        print!("{report}");
    }
    Exit::Done
}
