//! Load-generating tools, and parsers of their output.

use crate::cores::LOAD_CORE;
use crate::ports::Ports;
use crate::program::Program;
use std::path::Path;

/// The installed load generators, and the files that they need: a configuration of OpenSSL, and the content of uploads.
pub(crate) struct Tools {
    wrk: Program,
    h2load: Program,
    /// An h2load with HTTP/3. `None` if it was not built.
    h2load3: Option<Program>,
    openssl_config: String,
    upload: String,
}

/// Figures that a tool reports.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoadResult {
    /// Number of successful requests.
    pub(crate) requests: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Median latency in microseconds.
    pub(crate) p50: f64,
    /// 99th percentile of latency in microseconds.
    pub(crate) p99: f64,
}

/// Protocol of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// HTTP/1.1 without TLS.
    Plain,
    /// HTTP/1.1 over TLS.
    Http1,
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/3 over QUIC.
    Http3,
    /// HTTP/3 over QUIC, sent by quinn, which acknowledges every tenth packet if the server requests it.
    Http3Quinn,
}

impl Tools {
    /// Finds the tools in the folder of the peers, and writes a configuration of OpenSSL. `http3` is the folder of an
    /// h2load with HTTP/3, `folder` the common one.
    ///
    /// # Errors
    /// Returns the tool that is missing, or the file that cannot be written.
    pub(crate) fn find(peers: &Path, http3: Option<&Path>, folder: &Path) -> Result<Self, String> {
        // wrk has no TLS options, but OpenSSL reads its defaults: all clients offer only this cipher suite and
        // group.
        let config = folder.join("openssl.cnf");
        let text = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\n\
            Ciphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\nMinProtocol = TLSv1.3\n";
        std::fs::write(&config, text).map_err(|why| format!("{}: {why}", config.display()))?;
        Ok(Self {
            wrk: Program::unpacked(peers, "usr/bin/wrk")?,
            h2load: Program::unpacked(peers, "usr/bin/h2load")?,
            h2load3: http3.map(|folder| Program::unpacked(folder, "usr/bin/h2load")).transpose()?,
            openssl_config: config.display().to_string(),
            upload: folder.join("files/upload").display().to_string(),
        })
    }

    /// Runs wrk over HTTP/1.1, with TLS unless `protocol` is [`Protocol::Plain`], for a path with a number of
    /// connections and for a number of seconds. `more` are additional options.
    ///
    /// # Errors
    /// Returns the output if wrk fails, a status is not 2xx, or there was no request.
    pub(crate) fn wrk(
        &self,
        ports: Ports,
        protocol: Protocol,
        path: &str,
        clients: usize,
        seconds: u32,
        more: &[String],
    ) -> Result<LoadResult, String> {
        let url = match protocol {
            Protocol::Plain => format!("http://localhost:{}{path}", ports.plain),
            _ => format!("https://localhost:{}{path}", ports.tls),
        };
        let (clients, seconds) = (format!("-c{clients}"), format!("-d{seconds}"));
        let mut options = vec!["--latency", "-t1", &clients, &seconds];
        options.extend(more.iter().map(String::as_str));
        options.push(&url);
        let mut command = self.wrk.command(LOAD_CORE, &options);
        command.env("OPENSSL_CONF", &self.openssl_config);
        let output = command.output().map_err(|why| format!("wrk: {why}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        read_wrk(&text).ok_or_else(|| format!("wrk failed: {text}"))
    }

    /// Runs h2load over a protocol with the work of `work`.
    ///
    /// # Errors
    /// Returns the output if h2load or a request fails, and a description for HTTP/3 without an h2load that supports
    /// it, or [`Protocol::Http3Quinn`].
    pub(crate) fn h2load(
        &self,
        ports: Ports,
        protocol: Protocol,
        work: &LoadSpec,
    ) -> Result<LoadResult, String> {
        let (scheme, port) = match protocol {
            Protocol::Plain => ("http", ports.plain),
            _ => ("https", ports.tls),
        };
        let mut args: Vec<String> = vec![
            format!("-c{}", work.clients),
            format!("-m{}", work.streams),
            format!("--connect-to=127.0.0.1:{port}"),
            "--tls13-ciphers=TLS_AES_128_GCM_SHA256".into(),
            "--groups=X25519".into(),
            "-w24".into(),
            "-W24".into(),
        ];
        args.push(match work.until {
            RunLimit::Seconds(seconds) => format!("-D{seconds}"),
            RunLimit::Requests(requests) => format!("-n{requests}"),
        });
        match protocol {
            Protocol::Plain | Protocol::Http1 => args.push("--h1".into()),
            Protocol::Http2 => args.push("--alpn-list=h2".into()),
            Protocol::Http3 => args.push("--alpn-list=h3".into()),
            Protocol::Http3Quinn => return Err("h2load is not quinn".into()),
        }
        if work.upload {
            args.push(format!("-d{}", self.upload));
        }
        args.push(format!("{scheme}://localhost:{port}{}", work.path));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let cores = work.cores.unwrap_or(LOAD_CORE);
        // Debian builds h2load without QUIC: for HTTP/3, that program would silently use TCP.
        let program = match protocol {
            Protocol::Http3 => {
                self.h2load3.as_ref().ok_or("an h2load with HTTP/3 is missing: --h2load-http3")?
            }
            _ => &self.h2load,
        };
        let output = program.command(cores, &args).output().map_err(|why| format!("h2load: {why}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        read_h2load(&text)
            .ok_or_else(|| format!("h2load failed: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// End of a run.
#[derive(Clone, Copy)]
pub(crate) enum RunLimit {
    /// After this many seconds.
    Seconds(u32),
    /// After this many requests.
    Requests(u32),
}

/// Work of a load generator: path, connections, concurrent streams of each, end, and whether uploads are sent.
pub(crate) struct LoadSpec<'a> {
    pub(crate) path: &'a str,
    pub(crate) clients: usize,
    pub(crate) streams: usize,
    pub(crate) until: RunLimit,
    pub(crate) upload: bool,
    /// Cores to be used. `None` for the load core.
    pub(crate) cores: Option<&'a str>,
}

/// Parses the output of wrk. `None` if a status was not 2xx, there was no request, or a figure is missing.
fn read_wrk(text: &str) -> Option<LoadResult> {
    let after = |mark: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(mark))?;
        line.trim_start().strip_prefix(mark)?.split_whitespace().next()
    };
    let requests: f64 =
        text.lines().find(|line| line.contains(" requests in "))?.split_whitespace().next()?.parse().ok()?;
    if text.contains("Non-2xx") || requests == 0.0 {
        return None;
    }
    Some(LoadResult {
        requests,
        rate: after("Requests/sec:")?.parse().ok()?,
        p50: micros(after("50%")?)?,
        p99: micros(after("99%")?)?,
    })
}

/// Parses the output of h2load. `None` if a request failed, there was none, or a figure is missing.
fn read_h2load(text: &str) -> Option<LoadResult> {
    let line = |mark: &str| text.lines().find(|line| line.starts_with(mark));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let totals = words(line("requests: ")?);
    // requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout
    let number = |at: usize| totals.get(at).and_then(|word| word.parse::<f64>().ok());
    let (succeeded, failed) = (number(7)?, number(9)?);
    if succeeded == 0.0 || failed > 0.0 {
        return None;
    }
    let rate = words(line("finished in ")?).get(3)?.parse().ok()?;
    let latency = words(line("request     :")?);
    Some(LoadResult {
        requests: succeeded,
        rate,
        p50: micros(latency.get(4)?)?,
        p99: micros(latency.get(6)?)?,
    })
}

/// Parses `12us`, `1.5ms`, `2s` or `1m` into microseconds. `None` if it is not such a time.
fn micros(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let number: f64 = number.parse().ok()?;
    match unit {
        "us" => Some(number),
        "ms" => Some(number * 1e3),
        "s" => Some(number * 1e6),
        "m" => Some(number * 6e7),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_say_is_read() {
        let said = read_h2load(
            "finished in 1.00s, 37487.00 req/s, 45.19MB/s\n\
             requests: 37487 total, 37491 started, 37487 done, 37487 succeeded, 0 failed, 0 errored, 0 timeout\n\
             request     :       21us      9.29ms        85us       140us       228us       106us\n",
        )
        .expect("a whole answer");
        assert_eq!((said.requests, said.rate, said.p50, said.p99), (37487.0, 37487.0, 85.0, 228.0));
        let said = read_wrk(
            "  Latency Distribution\n     50%   69.00us\n     99%    4.48ms\n  39746 requests in 1.00s, 47.91MB read\n\
             Requests/sec:  39624.00\n",
        )
        .expect("a whole answer");
        assert_eq!((said.requests, said.rate, said.p50, said.p99), (39746.0, 39624.0, 69.0, 4480.0));
    }

    #[test]
    fn failures_are_no_figures() {
        assert!(
            read_h2load("requests: 10 total, 10 started, 10 done, 9 succeeded, 1 failed, 1 errored")
                .is_none()
        );
        assert!(read_wrk("  10 requests in 1s\n  Non-2xx or 3xx responses: 3\n").is_none());
    }
}
