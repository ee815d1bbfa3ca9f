//! Common environment of all contenders: certificate, origin, tools.

use crate::args::Args;
use crate::contender::{Parts, Scale};
use crate::load::Tools;
use crate::origin;
use crate::program::{Program, Running};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::path::PathBuf;

/// Limit of file descriptors: over twice the connections of the memory measurement, as HAProxy requires.
const DESCRIPTORS: u64 = 65_536;

/// Environment of the measurements. The origin ends and the folder is deleted when it is dropped.
pub(crate) struct Lab {
    folder: PathBuf,
    authority: testkit::Authority,
    pub(crate) roots: RootCertStore,
    pub(crate) tools: Tools,
    _origin: Running,
}

impl Lab {
    /// Creates the environment with its certificate, raises the limit of descriptors, and starts the origin.
    ///
    /// # Errors
    /// Returns a description if a file cannot be written, a program is missing, or the limit of descriptors cannot be
    /// raised.
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("peer-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        // The memory measurement has 10,000 connections.
        let known = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let raise = |to: Option<u64>| {
            let limit = rustix::process::Rlimit { current: to, maximum: to };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
        };
        raise(Some(DESCRIPTORS))
            .or_else(|_| raise(known.maximum))
            .map_err(|why| format!("the limit of descriptors: {why}"))?;
        let authority = testkit::Authority::new();
        let certificate = folder.join("certificates/bench");
        authority.write(&certificate, &["localhost"]);
        let read =
            |name: &str| fs::read_to_string(certificate.join(name)).map_err(|why| format!("{name}: {why}"));
        let full = read("key.pem")? + &read("fullchain.pem")?;
        fs::write(certificate.join("full.pem"), full).map_err(|why| format!("full.pem: {why}"))?;
        let mut roots = RootCertStore::empty();
        let root =
            CertificateDer::from_pem_slice(authority.root().as_bytes()).map_err(|why| why.to_string())?;
        roots.add(root).map_err(|why| why.to_string())?;
        let origin = origin::start(&folder, &Program::unpacked(&args.peers, "usr/sbin/nginx")?)?;
        let tools = Tools::find(&args.peers, args.h2load_http3.as_deref(), &folder)?;
        Ok(Self { folder, authority, roots, tools, _origin: origin })
    }

    /// Returns the files from which contenders are started.
    pub(crate) fn parts<'a>(&'a self, args: &'a Args) -> Parts<'a> {
        let (edge, peers, pingora) = (&args.edge, &args.peers, args.pingora.as_ref());
        Parts { folder: &self.folder, edge, peers, pingora, scale: Scale::default() }
    }

    /// Writes or deletes certificates of other names, so that there are `number` of them.
    ///
    /// # Errors
    /// Returns the folder that cannot be deleted.
    pub(crate) fn set_certificates(&self, number: usize) -> Result<(), String> {
        let folder = |at: usize| self.folder.join(format!("certificates/other-{at}"));
        for at in (0..number).filter(|at| !folder(*at).exists()) {
            self.authority.write(&folder(at), &[&format!("c{at}.test")]);
        }
        for at in (number..).take_while(|at| folder(*at).exists()) {
            fs::remove_dir_all(folder(at)).map_err(|why| format!("{}: {why}", folder(at).display()))?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
