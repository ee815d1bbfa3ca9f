//! SMTP AUTH (RFC 4954), as Go's `net/smtp` and Forgejo do it.

use super::wire::{Wire, WireError};
use crate::decide::Mechanism;
use crate::reply::Reply;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use std::fmt::Write;
use thiserror::Error;

/// Error of SMTP AUTH.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The connection failed during authentication, or a reply was not valid.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The server rejected the credentials or the mechanism. Contains its reply, from which the password is removed.
    #[error("refused: {}", .0.text())]
    Refused(Reply),
    /// A LOGIN prompt of the server is neither `Username:` nor `Password:`.
    #[error("the server asked something other than Username: and Password:, and Forgejo gives up")]
    Question,
    /// The server's challenge is not valid Base64.
    #[error("the server's challenge is not base64")]
    Challenge,
    /// NTLM was selected, which this crate does not implement.
    #[error("NTLM is not tried")]
    Ntlm,
}

/// Authenticates by a mechanism. The caller must have verified the server. Returns the final reply, from which the
/// password is removed if the server repeats it.
///
/// # Errors
/// Returns an [`AuthError`] if the server rejects the credentials, the exchange fails, or the mechanism is NTLM.
pub(super) async fn authenticate(
    wire: &mut Wire,
    mechanism: Mechanism,
    user: &str,
    password: &SecretString,
) -> Result<Reply, AuthError> {
    let hidden = |mut reply: Reply| {
        for line in &mut reply.lines {
            *line = without_secret(line, user, password);
        }
        reply
    };
    match conversation(wire, mechanism, user, password).await {
        Ok(reply) => Ok(hidden(reply)),
        Err(AuthError::Refused(reply)) => Err(AuthError::Refused(hidden(reply))),
        Err(why) => Err(why),
    }
}

/// Length in bytes below which a password may occur in a reply by coincidence, so that removing it would reveal it.
const MIN_HIDDEN_LEN: usize = 8;

/// Returns a reply to AUTH without the password, in clear text and in the encodings of PLAIN and LOGIN. With a password
/// shorter than 8 bytes, only the enhanced status code is kept.
fn without_secret(text: &str, user: &str, password: &SecretString) -> String {
    let secret = password.expose_secret();
    if secret.is_empty() {
        return text.to_owned();
    }
    if secret.len() < MIN_HIDDEN_LEN {
        let status = text.split(' ').next().unwrap_or_default();
        let is_status = status.len() <= 9 && status.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        return if is_status && !status.contains(secret) { status.to_owned() } else { String::new() };
    }
    let sent = [STANDARD.encode(format!("\0{user}\0{secret}")), STANDARD.encode(secret), secret.to_owned()];
    sent.iter().fold(text.to_owned(), |text, sent| text.replace(sent.as_str(), "(not shown)"))
}

/// Performs the exchange of a SASL mechanism, and returns the final reply.
///
/// # Errors
/// Returns an [`AuthError`] unless the final reply code is 235.
async fn conversation(
    wire: &mut Wire,
    mechanism: Mechanism,
    user: &str,
    password: &SecretString,
) -> Result<Reply, AuthError> {
    let secret = password.expose_secret();
    let reply = match mechanism {
        Mechanism::Plain => {
            let response = STANDARD.encode(format!("\0{user}\0{secret}"));
            wire.command("AUTH", &format!("AUTH PLAIN {response}")).await?
        }
        Mechanism::Login => {
            let mut reply = wire.command("AUTH", "AUTH LOGIN").await?;
            while reply.code == 334 {
                let question = challenge(&reply)?;
                let answer = match question.as_slice() {
                    b"Username:" => user,
                    b"Password:" => secret,
                    _ => {
                        let _ = wire.command("AUTH", "*").await;
                        return Err(AuthError::Question);
                    }
                };
                reply = wire.command("AUTH", &STANDARD.encode(answer)).await?;
            }
            reply
        }
        Mechanism::CramMd5 => {
            let reply = wire.command("AUTH", "AUTH CRAM-MD5").await?;
            if reply.code != 334 {
                return Err(AuthError::Refused(reply));
            }
            let response = cram_md5(user, secret, &challenge(&reply)?);
            wire.command("AUTH", &STANDARD.encode(response)).await?
        }
        Mechanism::Ntlm => return Err(AuthError::Ntlm),
    };
    if reply.code == 235 { Ok(reply) } else { Err(AuthError::Refused(reply)) }
}

/// Decodes the challenge in a reply.
///
/// # Errors
/// Returns [`AuthError::Challenge`] if it is not valid Base64.
fn challenge(reply: &Reply) -> Result<Vec<u8>, AuthError> {
    let text = reply.lines.first().map_or("", |line| line.trim());
    STANDARD.decode(text).map_err(|_| AuthError::Challenge)
}

/// Returns the response to a CRAM-MD5 challenge (RFC 2195): the user name, a space, and the HMAC in lower-case
/// hexadecimal.
fn cram_md5(user: &str, secret: &str, challenge: &[u8]) -> String {
    // HMAC accepts a key of any length.
    let mut out = format!("{user} ");
    if let Ok(mut mac) = <Hmac<md5::Md5> as KeyInit>::new_from_slice(secret.as_bytes()) {
        mac.update(challenge);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(out, "{byte:02x}");
        }
    }
    out
}

/// Returns the password in the response of `AUTH PLAIN`, as a server decodes it. `None` if the response is not valid.
pub(super) fn plain_password(response: &str) -> Option<SecretString> {
    let bytes = STANDARD.decode(response.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.splitn(3, '\0').nth(2).map(SecretString::from)
}

/// Returns the password in the response to the prompt `Password:`. `None` if it is not valid Base64 of UTF-8.
pub(super) fn login_password(response: &str) -> Option<SecretString> {
    String::from_utf8(STANDARD.decode(response.trim()).ok()?).ok().map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_repeats_the_password_does_not_have_it_shown() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for mechanism in [Mechanism::Plain, Mechanism::Login] {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                for question in ["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n", ""] {
                    buffer.clear();
                    while !buffer.ends_with(b"\n") {
                        theirs.read_buf(&mut buffer).await.expect("a line");
                    }
                    let said = String::from_utf8_lossy(&buffer).into_owned();
                    let echo = format!("535 what is {} hunter2222?\r\n", said.trim_end());
                    let last = question.is_empty() || said.starts_with("AUTH PLAIN");
                    let answer = if last { echo.as_str() } else { question };
                    theirs.write_all(answer.as_bytes()).await.expect("written");
                    if last {
                        return;
                    }
                }
            });
            let mut wire = Wire::new(Box::new(ours), std::time::Duration::from_secs(20));
            let password = SecretString::from("hunter2222");
            let why = authenticate(&mut wire, mechanism, "forge", &password).await.expect_err("refused");
            let shown = format!("{why} {why:?}");
            assert!(shown.contains("(not shown)"), "{shown}");
            for secret in
                ["hunter2222", &STANDARD.encode("hunter2222"), &STANDARD.encode("\0forge\0hunter2222")]
            {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }

    /// The example in RFC 2195.
    #[test]
    fn cram_md5_is_that_of_the_rfc() {
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        let answer = cram_md5("tim", "tanstaaftanstaaf", challenge);
        assert_eq!(answer, "tim b913a602c7eda7a495b4e6e7334d3890");
    }
}
