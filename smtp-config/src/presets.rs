//! Submission servers of providers, as their documentation describes them.

use crate::protocol::Protocol;
use thiserror::Error;

/// A provider's server for submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preset {
    /// The name of the preset.
    pub name: &'static str,
    /// The server. `REGION` stands for the region of the account, an empty text for a server of one's own.
    pub host: &'static str,
    /// The ports that it listens on with the protocol of each, the preferred one first.
    pub ports: &'static [(u16, Protocol)],
    /// A description of the account.
    pub user: &'static str,
    /// The account, where it is the same for everybody.
    pub fixed_user: Option<&'static str>,
    /// The sender must be the account or one of its addresses.
    pub sender_is_user: bool,
    /// A description of the password.
    pub password: &'static str,
    /// The reason for which a password does not work, where the provider wants something that Forgejo lacks.
    pub no_password_login: Option<&'static str>,
    /// The name that the SPF record of the sender's domain includes, where the provider has one.
    pub spf: Option<&'static str>,
    /// The provider puts a return path of its own on messages, so that SPF is checked for its domain.
    pub own_return_path: bool,
    /// The selectors of its DKIM keys, where they are the same for everybody.
    pub dkim: &'static [&'static str],
}

/// A reason for which a preset has no host.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresetError {
    /// The provider has one server a region.
    #[error("{0} has one server a region: give the region, as in eu-west-1")]
    Region(&'static str),
    /// The server is of one's own.
    #[error("{0} is a server of your own: give its host")]
    Host(&'static str),
    /// The region has other characters than those of a name.
    #[error("not a valid region: expected lower case letters, digits and -")]
    RegionName,
}

const TLS: Protocol = Protocol::Smtps;
const STARTTLS: Protocol = Protocol::StartTls;
const NO_BASIC_AUTHENTICATION: &str =
    "Microsoft retires passwords (basic authentication) for SMTP in favour of OAuth, which Forgejo lacks";

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

/// The presets, the default first.
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
        ..preset("sendgrid", "smtp.sendgrid.net", &[(465, TLS), (587, STARTTLS), (2525, STARTTLS)])
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
    /// Returns a preset by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Returns the preset that a server belongs to.
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

    /// Returns the protocol that the provider speaks on a port.
    #[must_use]
    pub fn protocol_at(&self, port: u16) -> Option<Protocol> {
        self.ports.iter().find(|(held, _)| *held == port).map(|(_, protocol)| *protocol)
    }

    /// Returns the server, in a region where there is one a region.
    ///
    /// # Errors
    ///
    /// A region or a host is missing or malformed.
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
