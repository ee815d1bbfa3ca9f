//! The proxies under comparison, each configured alike: one worker, the same certificate and cipher, connections reused
//! on both sides, the client's address forwarded, no access log.

use crate::cores::PROXY_CORE;
use crate::ports::{DOWNLOADS, Ports, UPLOADS};
use crate::program::{Program, Running, nginx_temporary};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A proxy under comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contender {
    /// edge-proxyd of this workspace.
    Edge,
    /// nginx with its defaults.
    Nginx,
    /// nginx with a large pool of connections to the origin, large buffers and QUIC's segmentation offload.
    NginxTuned,
    /// HAProxy, the load balancer.
    Haproxy,
    /// Caddy, the web server.
    Caddy,
    /// A small proxy on pingora, without HTTP/3.
    Pingora,
}

/// All contenders, edge-proxyd first.
pub(crate) const ALL: &[Contender] = &[
    Contender::Edge,
    Contender::Nginx,
    Contender::NginxTuned,
    Contender::Haproxy,
    Contender::Caddy,
    Contender::Pingora,
];

/// Files from which contenders are started: the common folder, edge-proxyd, the folder of the peers, and the pingora
/// proxy, `None` if it was not built.
pub(crate) struct Parts<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) edge: &'a Path,
    pub(crate) peers: &'a Path,
    pub(crate) pingora: Option<&'a PathBuf>,
    pub(crate) scale: Scale,
}

/// What edge-proxyd and nginx have beside the measured site.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// The highest number of connections of an nginx worker.
    pub(crate) connections: usize,
    /// The number of other sites.
    pub(crate) sites: usize,
    /// The number of other routes of the site.
    pub(crate) routes: usize,
    /// The number of certificates of other names.
    pub(crate) certificates: usize,
}

impl Default for Scale {
    fn default() -> Self {
        Self { connections: 12_000, sites: 0, routes: 0, certificates: 0 }
    }
}

/// Conditions under which a contender runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As built, for measuring time and memory.
    Measured,
    /// Under valgrind, which counts its instructions.
    Counted,
}

impl Mode {
    /// Returns the program as it is run under these conditions.
    fn wrap(self, program: Program) -> Program {
        match self {
            Self::Measured => program,
            Self::Counted => program.counted(),
        }
    }
}

impl Contender {
    /// Returns the name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge-proxyd",
            Self::Nginx => "nginx",
            Self::NginxTuned => "nginx, tuned",
            Self::Haproxy => "HAProxy",
            Self::Caddy => "Caddy",
            Self::Pingora => "pingora",
        }
    }

    /// Returns the ports on which the contender listens, which differ between contenders.
    pub(crate) const fn ports(self) -> Ports {
        let base = 17_100 + self as u16 * 10;
        Ports { plain: base, tls: base + 1 }
    }

    /// Starts the contender with a number of workers, and waits until it listens.
    ///
    /// # Errors
    /// Returns an error if a port is in use, a file cannot be written or the program cannot be started, or, with its
    /// standard error, if it does not listen within 20 s.
    pub(crate) fn start(self, parts: &Parts<'_>, workers: usize) -> Result<Running, String> {
        self.start_as(parts, workers, Mode::Measured)
    }

    /// Starts the contender with one worker under valgrind, and waits until it listens. Only edge-proxyd and nginx are
    /// run under valgrind; the sandbox of edge-proxyd is off, since it would terminate valgrind.
    ///
    /// # Errors
    /// Returns the errors of [`start`](Self::start).
    pub(crate) fn start_counted(self, parts: &Parts<'_>) -> Result<Running, String> {
        self.start_as(parts, 1, Mode::Counted)
    }

    /// Starts the contender under some conditions, on the core of proxies or, with several workers, on cores 0 and 1,
    /// and waits until it listens.
    ///
    /// # Errors
    /// Returns a description if a port is in use, a file cannot be written, or the program does not start or does not
    /// listen within 20 s.
    fn start_as(self, parts: &Parts<'_>, workers: usize, mode: Mode) -> Result<Running, String> {
        let cores = if workers == 1 { PROXY_CORE } else { "0,1" };
        for port in [self.ports().plain, self.ports().tls] {
            // Two nginx processes would share the port, and each would seem to cost half.
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Err(format!("port {port} is in use: stop the process of an earlier run"));
            }
        }
        let folder = parts.folder.join(self.name());
        fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let running = match self {
            Self::Edge => {
                let sandbox = if mode == Mode::Measured { "" } else { "[sandbox]\nmode = \"off\"\n" };
                let text = edge(self.ports(), parts.folder, parts.scale) + sandbox;
                let path = write(&folder, "edge.toml", &text)?;
                let workers = workers.to_string();
                let edge = mode.wrap(Program::plain(parts.edge));
                edge.start(cores, &["run", "--config", &path, "--workers", &workers])?
            }
            Self::Nginx | Self::NginxTuned => {
                let tuning = if self == Self::Nginx { &Tuning::DEFAULT } else { &Tuning::TUNED };
                let path = write(&folder, "nginx.conf", &nginx(self.ports(), parts, workers, tuning)?)?;
                let prefix = folder.display().to_string();
                let nginx = mode.wrap(Program::unpacked(parts.peers, "usr/sbin/nginx")?);
                nginx.start(cores, &["-p", &prefix, "-e", "stderr", "-c", &path])?
            }
            Self::Haproxy => {
                let path = write(&folder, "haproxy.cfg", &haproxy(self.ports(), parts.folder, workers))?;
                Program::unpacked(parts.peers, "usr/sbin/haproxy")?.start(cores, &["-db", "-f", &path])?
            }
            Self::Caddy => {
                let path = write(&folder, "Caddyfile", &caddy(self.ports(), parts.folder))?;
                let home = folder.display().to_string();
                let env = [("GOMAXPROCS", if workers == 1 { "1" } else { "2" }), ("HOME", &home)];
                let args = ["run", "--config", &path, "--adapter", "caddyfile"];
                Program::plain(&parts.peers.join("usr/bin/caddy")).start_with(cores, &args, &env)?
            }
            Self::Pingora => {
                let Some(program) = parts.pingora else { return Err("pingora was not built".into()) };
                let ports = self.ports();
                let args = [
                    ports.plain.to_string(),
                    ports.tls.to_string(),
                    parts.folder.join("certificates/bench/fullchain.pem").display().to_string(),
                    parts.folder.join("certificates/bench/key.pem").display().to_string(),
                    DOWNLOADS.to_string(),
                    UPLOADS.to_string(),
                    workers.to_string(),
                ];
                Program::plain(program).start(cores, &args.each_ref().map(String::as_str))?
            }
        };
        let until = Instant::now() + Duration::from_secs(20);
        for port in [self.ports().plain, self.ports().tls] {
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                if Instant::now() > until {
                    let said = running.errors();
                    return Err(format!("{} does not listen on port {port}: {}", self.name(), said.trim()));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(running)
    }
}

/// Writes a configuration to the file `name` in a folder. Returns its path.
///
/// # Errors
/// Returns a description if the file cannot be written.
fn write(folder: &Path, name: &str, text: &str) -> Result<String, String> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(path.display().to_string())
}

/// Returns the configuration of edge-proxyd.
fn edge(ports: Ports, folder: &Path, scale: Scale) -> String {
    let Ports { plain, tls } = ports;
    let routes: String = (0..scale.routes)
        .map(|at| {
            format!("[[site.route]]\npath = \"/route-{at}\"\nupstream = \"http://127.0.0.1:{DOWNLOADS}\"\n")
        })
        .collect();
    let sites: String = (0..scale.sites)
        .map(|at| {
            format!(
                "[[site]]\nhosts = [\"s{at}.test\"]\nplain = \"serve\"\nupstream = \"http://127.0.0.1:{DOWNLOADS}\"\n"
            )
        })
        .collect();
    format!(
        r#"[[listen]]
address = "127.0.0.1:{plain}"
[[listen]]
address = "127.0.0.1:{tls}"
tls = true
http3 = true
[certificates]
folder = "{folder}/certificates"
[log]
format = "off"
# All clients of a measurement have one address; everything else is as by default.
[limits]
connections_per_client = 20000
[[site]]
hosts = ["localhost"]
plain = "serve"
upstream = "http://127.0.0.1:{downloads}"
[[site.route]]
path = "/upload"
upstream = "http://127.0.0.1:{uploads}"
{routes}{sites}"#,
        folder = folder.display(),
        downloads = DOWNLOADS,
        uploads = UPLOADS,
    )
}

/// Directives of nginx that only one of the two has.
struct Tuning {
    /// Directives of the block `http`.
    http: &'static str,
    /// Directives of each upstream.
    upstream: &'static str,
}

impl Tuning {
    /// None: 8 buffers of 4 KiB, and 32 idle connections to the origin.
    const DEFAULT: Self = Self { http: "", upstream: "" };
    /// Large buffers, segmentation offload, and as many connections as a measurement has requests.
    const TUNED: Self = Self {
        http: "proxy_buffers 16 64k; proxy_buffer_size 16k; proxy_busy_buffers_size 256k; client_body_buffer_size 256k; quic_gso on;",
        upstream: "keepalive 1024; keepalive_requests 1000000000;",
    };
}

/// Returns the configuration of nginx.
///
/// # Errors
/// Returns a description if a folder for temporary files cannot be created.
fn nginx(ports: Ports, parts: &Parts<'_>, workers: usize, tuning: &Tuning) -> Result<String, String> {
    let Ports { plain, tls } = ports;
    let (folder, Scale { connections, .. }) = (parts.folder, parts.scale);
    let routes: String = (0..parts.scale.routes)
        .map(|at| format!("    location = /route-{at} {{ proxy_pass http://down; }}\n"))
        .collect();
    let sites: String = (0..parts.scale.sites)
        .map(|at| {
            format!(
                "  server {{ listen 127.0.0.1:{plain}; server_name s{at}.test; location / {{ proxy_pass http://down; }} }}\n"
            )
        })
        .collect();
    Ok(format!(
        r#"daemon off; worker_processes {workers}; user root; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
  access_log off; {temporary}
  keepalive_timeout 1h; keepalive_requests 1000000000; client_max_body_size 0;
  ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_ecdh_curve X25519;
  ssl_certificate {folder}/certificates/bench/fullchain.pem; ssl_certificate_key {folder}/certificates/bench/key.pem;
  http2_max_concurrent_streams 128;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Real-IP $remote_addr;
  {http} proxy_max_temp_file_size 0; proxy_request_buffering off;
  upstream down {{ server 127.0.0.1:{downloads}; {upstream} }}
  upstream up {{ server 127.0.0.1:{uploads}; {upstream} }}
  server {{ listen 127.0.0.1:{plain} default_server backlog=4096 reuseport; return 444; }}
  server {{ listen 127.0.0.1:{tls} ssl default_server backlog=4096 reuseport; listen 127.0.0.1:{tls} quic default_server reuseport;
    http2 on; ssl_reject_handshake on; }}
  server_names_hash_max_size 32768;
{sites}  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; listen 127.0.0.1:{tls} quic; http2 on; server_name localhost;
    location / {{ proxy_pass http://down; }}
    location /upload {{ proxy_pass http://up; }}
{routes}  }}
}}
"#,
        temporary = nginx_temporary(folder, "nginx")?,
        folder = folder.display(),
        http = tuning.http,
        upstream = tuning.upstream,
        downloads = DOWNLOADS,
        uploads = UPLOADS,
    ))
}

/// Returns the configuration of HAProxy.
fn haproxy(ports: Ports, folder: &Path, workers: usize) -> String {
    let Ports { plain, tls } = ports;
    format!(
        r#"global
  nbthread {workers}
  maxconn 9900
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-bind-curves X25519
  tune.h2.fe.max-concurrent-streams 128
  tune.bufsize 65536
defaults
  mode http
  timeout client 1h
  timeout server 1h
  timeout connect 5s
  timeout http-keep-alive 1h
  option forwardfor
  http-reuse always
frontend edge
  bind 127.0.0.1:{plain} backlog 4096
  bind 127.0.0.1:{tls} ssl crt {folder}/certificates/bench/full.pem alpn h2,http/1.1 strict-sni backlog 4096
  bind quic4@127.0.0.1:{tls} ssl crt {folder}/certificates/bench/full.pem alpn h3
  http-request silent-drop unless {{ hdr(host),field(1,:) -i localhost }}
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  use_backend up if {{ path_beg /upload }}
  default_backend down
backend down
  server origin 127.0.0.1:{downloads} pool-max-conn -1
backend up
  server origin 127.0.0.1:{uploads} pool-max-conn -1
"#,
        folder = folder.display(),
        downloads = DOWNLOADS,
        uploads = UPLOADS,
    )
}

/// Returns the configuration of Caddy.
fn caddy(ports: Ports, folder: &Path) -> String {
    let Ports { plain, tls } = ports;
    let folder = folder.display();
    format!(
        r#"{{
  admin off
  auto_https off
  persist_config off
  skip_install_trust
  default_bind 127.0.0.1
  log {{
    output discard
  }}
  servers {{
    protocols h1 h2 h3
  }}
}}
(routes) {{
  reverse_proxy /upload http://127.0.0.1:{UPLOADS} {{
    flush_interval -1
    transport http {{
      keepalive_idle_conns_per_host 1024
    }}
  }}
  reverse_proxy http://127.0.0.1:{DOWNLOADS} {{
    transport http {{
      keepalive_idle_conns_per_host 1024
    }}
  }}
}}
http://localhost:{plain} {{
  import routes
}}
https://localhost:{tls} {{
  tls {folder}/certificates/bench/fullchain.pem {folder}/certificates/bench/key.pem {{
    protocols tls1.3
    curves x25519
  }}
  import routes
}}
"#,
    )
}
