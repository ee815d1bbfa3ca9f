//! Origin behind every contender: nginx for downloads, and a built-in server for uploads, since nginx responds before
//! it has read them.

use crate::cores::{LOAD_CORE, pin_this_thread};
use crate::files::{FILES, UPLOAD};
use crate::ports::{DOWNLOADS, UPLOADS};
use crate::program::{Program, Running, nginx_temporary};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// Writes the files of [`FILES`] and the content of uploads, and starts nginx for downloads and a thread that serves
/// uploads. Dropping the result ends nginx.
///
/// # Errors
/// Returns a description if a file cannot be written, or nginx cannot be started.
pub(crate) fn start(folder: &Path, nginx: &Program) -> Result<Running, String> {
    let files = folder.join("files");
    fs::create_dir_all(&files).map_err(|why| format!("{}: {why}", files.display()))?;
    for (name, size) in FILES {
        let content: Vec<u8> = (0..*size).map(|at| b'a' + (at % 23) as u8).collect();
        fs::write(files.join(name), content).map_err(|why| format!("{name}: {why}"))?;
    }
    fs::write(files.join("upload"), vec![b'u'; UPLOAD]).map_err(|why| format!("upload: {why}"))?;
    std::thread::spawn(uploads);
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/origin.pid; error_log stderr crit; \
         events {{ worker_connections 40000; }}\n\
         http {{ access_log off; {temporary} keepalive_requests 1000000000; keepalive_timeout 1h; sendfile on; \
         open_file_cache max=10; server {{ listen 127.0.0.1:{DOWNLOADS} backlog=4096; root {folder}/files; }} }}\n",
        folder = folder.display(),
        temporary = nginx_temporary(folder, "origin")?,
    );
    let path = folder.join("origin.conf");
    fs::write(&path, config).map_err(|why| format!("{}: {why}", path.display()))?;
    let folder = folder.display().to_string();
    nginx.start(LOAD_CORE, &["-p", &folder, "-e", "stderr", "-c", &path.display().to_string()])
}

/// Serves uploads, each connection on its own thread. Never returns unless the port cannot be bound.
fn uploads() {
    let Ok(listener) = TcpListener::bind(("127.0.0.1", UPLOADS)) else { return };
    pin_this_thread(LOAD_CORE);
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || while let Ok(true) = one_upload(&stream) {});
    }
}

/// Reads requests to the end of their content, by length or in chunks, and responds to each with 200 and `ok`. Returns
/// `false` at the end of the connection; it never returns `true`.
///
/// # Errors
/// Returns an error if the connection fails or a chunk size is not valid.
fn one_upload(stream: &TcpStream) -> std::io::Result<bool> {
    let mut reader = BufReader::with_capacity(256 * 1024, stream);
    loop {
        let mut length = None;
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse::<u64>().ok();
            }
        }
        match length {
            Some(length) => skip(&mut reader, length)?,
            None => loop {
                line.clear();
                reader.read_line(&mut line)?;
                let size = u64::from_str_radix(line.trim_end(), 16).map_err(std::io::Error::other)?;
                skip(&mut reader, size + 2)?;
                if size == 0 {
                    break;
                }
            },
        }
        (&*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
}

/// Skips a number of bytes.
///
/// # Errors
/// Returns an error if the stream ends before.
fn skip(reader: &mut impl BufRead, mut left: u64) -> std::io::Result<()> {
    while left > 0 {
        let n = std::io::copy(&mut reader.take(left), &mut std::io::sink())?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left -= n;
    }
    Ok(())
}
