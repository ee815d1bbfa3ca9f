//! Settings of mail providers' submission servers, from their documentation.

use crate::protocol::Protocol;
use thiserror::Error;

/// Settings of a provider's submission server (RFC 6409).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preset {
    /// Unique name of the preset, such as `mailjet`.
    pub name: &'static str,
    /// Host name. It contains `REGION` for a provider with one server per region, and is empty for a self-hosted
    /// server.
    pub host: &'static str,
    /// Documented ports with their protocols, the preferred one first.
    pub ports: &'static [(u16, Protocol)],
    /// Human-readable description of the user name.
    pub user: &'static str,
    /// User name, if it is the same for all customers. `None` otherwise.
    pub fixed_user: Option<&'static str>,
    /// Whether the From address must be the user name or one of its aliases.
    pub sender_is_user: bool,
    /// Human-readable description of the password.
    pub password: &'static str,
    /// Reason why password authentication fails, if the provider requires a method that Forgejo lacks. `None`
    /// otherwise.
    pub no_password_login: Option<&'static str>,
    /// Domain to be included in the SPF record of the sender's domain. `None` if the provider does not require it.
    pub spf: Option<&'static str>,
    /// Whether the provider replaces the envelope sender by its own, so that SPF is checked for its domain.
    pub own_return_path: bool,
    /// DKIM selectors, if they are the same for all customers. Empty otherwise.
    pub dkim: &'static [&'static str],
}

/// Error of determining the host of a preset.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresetError {
    /// The region is missing, and the provider has one server per region. Contains the preset's name.
    #[error("{0} has one server a region: give the region, as in eu-west-1")]
    Region(&'static str),
    /// The server is self-hosted, so that the preset has no host. Contains the preset's name.
    #[error("{0} is a server of your own: give its host")]
    Host(&'static str),
    /// The region is empty or contains characters other than lower-case letters, digits and `-`.
    #[error("not a valid region: expected lower case letters, digits and -")]
    RegionName,
}

/// Implicit TLS, under a short name for the table.
const TLS: Protocol = Protocol::Smtps;
/// STARTTLS, under a short name for the table.
const STARTTLS: Protocol = Protocol::StartTls;
/// Reason why password authentication fails at Microsoft's servers.
const NO_BASIC_AUTHENTICATION: &str =
    "Microsoft retires passwords (basic authentication) for SMTP in favour of OAuth, which Forgejo lacks";

/// Creates a preset whose user name is the address, without any special property.
const fn preset(name: &'static str, host: &'static str, ports: &'static [(u16, Protocol)]) -> Preset {
    Preset {
        name,
        host,
        ports,
        user: "the address",
        fixed_user: None,
        sender_is_user: false,
        password: "the password",
        no_password_login: None,
        spf: None,
        own_return_path: false,
        dkim: &[],
    }
}

/// All presets, the default first.
pub const PRESETS: &[Preset] = &[
    Preset {
        user: "the API key",
        password: "the secret key",
        spf: Some("spf.mailjet.com"),
        own_return_path: true,
        dkim: &["mailjet"],
        ..preset(
            "mailjet",
            "in-v3.mailjet.com",
            &[(465, TLS), (587, STARTTLS), (25, STARTTLS), (2525, STARTTLS)],
        )
    },
    Preset {
        user: "the account; it may send as its own addresses only",
        ..preset("stalwart", "", &[(465, TLS), (587, STARTTLS)])
    },
    Preset {
        user: "the login",
        password: "the SMTP key",
        spf: Some("spf.brevo.com"),
        own_return_path: true,
        ..preset("brevo", "smtp-relay.brevo.com", &[(465, TLS), (587, STARTTLS), (2525, STARTTLS)])
    },
    Preset {
        password: "an app password",
        spf: Some("spf.messagingengine.com"),
        dkim: &["fm1", "fm2", "fm3"],
        ..preset("fastmail", "smtp.fastmail.com", &[(465, TLS), (587, STARTTLS)])
    },
    Preset {
        password: "an app password",
        sender_is_user: true,
        spf: Some("_spf.google.com"),
        dkim: &["google"],
        ..preset("gmail", "smtp.gmail.com", &[(465, TLS), (587, STARTTLS)])
    },
    Preset {
        password: "an app-specific password",
        spf: Some("icloud.com"),
        dkim: &["sig1"],
        ..preset("icloud", "smtp.mail.me.com", &[(587, STARTTLS)])
    },
    Preset {
        user: "the SMTP login, postmaster@ the domain",
        spf: Some("mailgun.org"),
        own_return_path: true,
        ..preset("mailgun", "smtp.mailgun.org", &[(465, TLS), (587, STARTTLS), (2525, STARTTLS)])
    },
    Preset {
        user: "the SMTP login, postmaster@ the domain",
        spf: Some("mailgun.org"),
        own_return_path: true,
        ..preset("mailgun-eu", "smtp.eu.mailgun.org", &[(465, TLS), (587, STARTTLS), (2525, STARTTLS)])
    },
    Preset {
        user: "the mailbox",
        spf: Some("spf.migadu.com"),
        dkim: &["key1", "key2", "key3"],
        ..preset("migadu", "smtp.migadu.com", &[(465, TLS), (587, STARTTLS)])
    },
    Preset {
        sender_is_user: true,
        no_password_login: Some(NO_BASIC_AUTHENTICATION),
        spf: Some("spf.protection.outlook.com"),
        dkim: &["selector1", "selector2"],
        ..preset("office365", "smtp.office365.com", &[(587, STARTTLS)])
    },
    Preset {
        sender_is_user: true,
        no_password_login: Some(NO_BASIC_AUTHENTICATION),
        ..preset("outlook", "smtp-mail.outlook.com", &[(587, STARTTLS)])
    },
    Preset {
        user: "the server token",
        password: "the same server token",
        spf: Some("spf.mtasv.net"),
        own_return_path: true,
        ..preset("postmark", "smtp.postmarkapp.com", &[(587, STARTTLS), (25, STARTTLS), (2525, STARTTLS)])
    },
    Preset {
        user: "the address of a domain of your own",
        password: "its SMTP token",
        spf: Some("_spf.protonmail.ch"),
        dkim: &["protonmail", "protonmail2", "protonmail3"],
        ..preset("proton", "smtp.protonmail.ch", &[(587, STARTTLS)])
    },
    Preset {
        user: "resend",
        fixed_user: Some("resend"),
        password: "an API key",
        own_return_path: true,
        dkim: &["resend"],
        ..preset(
            "resend",
            "smtp.resend.com",
            &[(465, TLS), (2465, TLS), (587, STARTTLS), (2587, STARTTLS), (25, STARTTLS)],
        )
    },
    Preset {
        user: "apikey",
        fixed_user: Some("apikey"),
        password: "an API key",
        spf: Some("sendgrid.net"),
        own_return_path: true,
        dkim: &["s1", "s2"],
        // Ports 25, 2525 and 587 are "for an unencrypted or a TLS connection", 465 "for a SSL connection"
        // (docs.sendgrid.com, "Integrating with the SMTP API").
        ..preset(
            "sendgrid",
            "smtp.sendgrid.net",
            &[(465, TLS), (587, STARTTLS), (25, STARTTLS), (2525, STARTTLS)],
        )
    },
    Preset {
        user: "the SMTP user name of the region",
        password: "its SMTP password, which is not the secret access key",
        spf: Some("amazonses.com"),
        own_return_path: true,
        ..preset(
            "ses",
            "email-smtp.REGION.amazonaws.com",
            &[(465, TLS), (2465, TLS), (587, STARTTLS), (2587, STARTTLS), (25, STARTTLS)],
        )
    },
    preset("zoho", "smtp.zoho.com", &[(465, TLS), (587, STARTTLS)]),
];

impl Preset {
    /// Returns the preset with exactly this name. `None` if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Returns the preset to which a host name belongs, in any case and region. `None` for other hosts.
    #[must_use]
    pub fn of_host(host: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| match preset.host.split_once("REGION") {
            Some((before, after)) => {
                let host = host.to_ascii_lowercase();
                host.len() > before.len() + after.len() && host.starts_with(before) && host.ends_with(after)
            }
            None => !host.is_empty() && preset.host.eq_ignore_ascii_case(host),
        })
    }

    /// Returns the protocol of a port. `None` if the provider does not document the port.
    #[must_use]
    pub fn protocol_at(&self, port: u16) -> Option<Protocol> {
        self.ports.iter().find(|(held, _)| *held == port).map(|(_, protocol)| *protocol)
    }

    /// Returns the host name. `region` is ignored unless the provider has one server per region.
    ///
    /// # Errors
    /// Returns a [`PresetError`] if the region is missing or not valid, or the server is self-hosted.
    pub fn host(&self, region: Option<&str>) -> Result<String, PresetError> {
        if self.host.is_empty() {
            return Err(PresetError::Host(self.name));
        }
        if !self.host.contains("REGION") {
            return Ok(self.host.to_owned());
        }
        let region = region.ok_or(PresetError::Region(self.name))?;
        let fits = region.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if region.is_empty() || !fits {
            return Err(PresetError::RegionName);
        }
        Ok(self.host.replace("REGION", region))
    }
}
