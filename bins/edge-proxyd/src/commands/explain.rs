//! The command `explain`: shows how the proxy would handle a request or a forwarded connection, by the decision
//! functions of the proxy itself.

mod answer;
mod certificate;
mod connection;
mod forward;
mod readings;
mod report;
mod request;
mod settings;

use super::fail;
use crate::cli::{Exit, ExplainArgs};
use crate::config;
use crate::service::maintenance::{self, Switches};
use cli_support::outcome::Failure;
use cli_support::usage;
use edge_proxy::Snapshot;
use serde::Serialize;
use std::fmt;

/// Runs the command and prints the explanation. Sites under maintenance are read from the state folder, unless
/// `--no-files` is given. Returns [`Exit::Done`], or [`Exit::Wrong`] if the arguments or the configuration are not
/// valid.
pub(crate) fn run(mut args: ExplainArgs) -> Exit {
    if let Some(url) = args.url.take()
        && let Err(why) = request::take_url(&url, &mut args)
    {
        return fail("explain", args.json, &usage::fault("value", "URL", &why));
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
    if let Some(found) = forward::named(&snapshot, args) {
        if args.host.is_some() {
            let why = "the listener forwards TCP as it comes, so that there is no request: leave out the URL or --host";
            return fail("explain", args.json, &usage::fault("conflict", "--host", why));
        }
        print(&forward::ForwardExplanation::new(&snapshot, args, found), args.json);
        return Exit::Done;
    }
    if args.host.is_none() {
        let why =
            "the listener is for HTTP, or there is none of this name: add the URL of the request, or --host";
        return fail("explain", args.json, &usage::fault("missing", "--host", why));
    }
    let head = match request::head(args) {
        Ok(head) => head,
        Err(why) => return fail("explain", args.json, &Failure::Configuration(why.to_string())),
    };
    let certificates = if args.no_files {
        certificate::CertificateSource::Unneeded
    } else {
        certificate::CertificateSource::load(&settings)
    };
    print(&report::Explanation::new(&snapshot, args, head, &certificates), args.json);
    Exit::Done
}

/// Prints a report to standard output, as indented JSON or as text.
fn print(report: &(impl Serialize + fmt::Display), as_json: bool) {
    if as_json {
        // Contains only text and numbers, so serialisation cannot fail.
        println!("{}", serde_json::to_string_pretty(report).unwrap_or_default());
    } else {
        print!("{report}");
    }
}
