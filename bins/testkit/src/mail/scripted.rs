//! SMTP servers in Python and Node.js, each implemented by a short script.

use super::{CertificateFiles, listening, tools, until};
use crate::free_port;
use std::process::{Child, Command, Stdio};

/// A server in its own process. It is killed when dropped.
pub struct ScriptedServer {
    child: Child,
    /// TCP port of the server, at 127.0.0.1.
    pub port: u16,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Script of a server with Python's aiosmtpd. Its arguments are port, mode, certificate chain, private key, user,
/// password and flags.
const AIOSMTPD: &str = r#"
import asyncio, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult
port, mode, chain, key, user, password = int(sys.argv[1]), *sys.argv[2:7]
flags = sys.argv[7].split(",")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
seen = set()
class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        if "refuse-sender" in flags:
            return "550 5.7.1 not your address"
        envelope.mail_from = address
        return "250 OK"
    async def handle_RCPT(self, server, session, envelope, address, options):
        if "greylist" in flags and address not in seen:
            seen.add(address)
            return "451 4.7.1 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"
    async def handle_DATA(self, server, session, envelope):
        return "250 2.0.0 taken"
def authenticator(server, session, envelope, mechanism, data):
    good = data.login == user.encode() and data.password == password.encode()
    return AuthResult(success=good)
def factory():
    settings = dict(authenticator=authenticator, hostname="mail.example.org", auth_require_tls="careless" not in flags)
    if mode == "starttls":
        settings.update(tls_context=context, require_starttls=False)
    else:
        settings.update(auth_require_tls=False)
    if "xoauth2" in flags:
        settings.update(auth_exclude_mechanism=["PLAIN"])
    return SMTP(Handler(), **settings)
async def main():
    server = await asyncio.get_running_loop().create_server(
        factory, "127.0.0.1", port, ssl=context if mode == "smtps" else None)
    await server.serve_forever()
asyncio.run(main())
"#;

/// Script of a server with Node's smtp-server. Its arguments are port, mode, certificate chain, private key, user,
/// password and mechanisms.
const NODE: &str = r#"
const fs = require("fs");
const { SMTPServer } = require("smtp-server");
const [port, mode, chain, key, user, password, flags] = process.argv.slice(2);
new SMTPServer({
  secure: mode === "smtps", cert: fs.readFileSync(chain), key: fs.readFileSync(key),
  authMethods: flags.split(","), authOptional: false, logger: false, name: "mail.example.org",
  onAuth(auth, session, done) {
    const good = auth.method === "CRAM-MD5" ? auth.validatePassword(password) : auth.password === password;
    if (auth.username === user && good) done(null, { user });
    else done(new Error("no"));
  },
  onData(stream, session, done) { stream.resume(); stream.on("end", () => done(null, "taken")); },
}).on("error", () => {}).listen(Number(port), "127.0.0.1");
"#;

/// Starts Python's aiosmtpd with one account. `mode` is `smtps` (implicit TLS) or `starttls`. `flags` is a
/// comma-separated subset of `greylist` (each recipient is rejected with 451 once), `refuse-sender` (MAIL gets 550),
/// `careless` (AUTH is offered before STARTTLS) and `xoauth2` (PLAIN is not offered); it may be empty.
///
/// # Panics
/// Panics if aiosmtpd is not installed or does not listen within 60 s.
pub fn aiosmtpd(
    mode: &str,
    pair: &CertificateFiles,
    user: &str,
    password: &str,
    flags: &str,
) -> ScriptedServer {
    let packages = tools().join("python");
    assert!(packages.join("aiosmtpd").is_dir(), "aiosmtpd is missing: cargo xtask tools");
    let mut python = Command::new("/usr/bin/python3");
    python.arg("-c").arg(AIOSMTPD).env("PYTHONPATH", packages);
    started(python, mode, pair, user, password, flags)
}

/// Starts Node's smtp-server with one account. `mode` is `smtps` (implicit TLS) or `starttls`; `mechanisms` is the
/// comma-separated list of the AUTH mechanisms that it offers.
///
/// # Panics
/// Panics if smtp-server is not installed or does not listen within 60 s.
pub fn node(
    mode: &str,
    pair: &CertificateFiles,
    user: &str,
    password: &str,
    mechanisms: &str,
) -> ScriptedServer {
    let packages = tools().join("node/node_modules");
    assert!(packages.join("smtp-server").is_dir(), "smtp-server is missing: cargo xtask tools");
    let mut node = Command::new("/usr/bin/node");
    // `script` is in the position of a script's name, so that the arguments have their usual positions.
    node.arg("-e").arg(NODE).arg("--").arg("script").env("NODE_PATH", packages);
    started(node, mode, pair, user, password, mechanisms)
}

/// Starts a server by `program`, to which the arguments of the script are appended, on a free port, and waits until it
/// listens. `flags` is the last argument.
///
/// # Panics
/// Panics if the program cannot be run, or does not listen within 60 s.
fn started(
    mut program: Command,
    mode: &str,
    pair: &CertificateFiles,
    user: &str,
    password: &str,
    flags: &str,
) -> ScriptedServer {
    let port = free_port();
    let words = [&port.to_string(), mode];
    program.args(words).arg(&pair.chain).arg(&pair.key).args([user, password, flags]);
    // The tests provoke errors on purpose, which are not printed.
    let child =
        program.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts: cargo xtask tools");
    let scripted = ScriptedServer { child, port };
    until("the server listens", || listening(port));
    scripted
}
