//! The servers of providers, as their documentation names them.

use crate::mailer::Protocol;
use thiserror::Error;

/// A provider's server for submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// The server. `REGION` stands for the region of the account, an empty text for a server of one's own.
    pub host: &'static str,
    /// The ports that it listens on with what is spoken there, the preferred one first.
    pub ports: &'static [(u16, Protocol)],
    /// What the account is.
    pub user: &'static str,
    /// The account, where it is the same for everybody.
    pub fixed_user: Option<&'static str>,
    /// What the password is.
    pub password: &'static str,
    /// What the SPF record of the sender's domain includes, where the provider has one name for it.
    pub spf: Option<&'static str>,
    /// The selectors of its DKIM keys, where they are the same for everybody.
    pub dkim: &'static [&'static str],
}

/// Why a preset has no host.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresetError {
    /// It has one server a region.
    #[error("{0} has one server a region: name the region, as in eu-west-1")]
    Region(&'static str),
    /// The server is one's own.
    #[error("{0} is a server of your own: name its host")]
    Host(&'static str),
    /// No such region can be.
    #[error("a region has lower case letters, digits and - only")]
    RegionName,
}

const TLS: Protocol = Protocol::Smtps;
const STARTTLS: Protocol = Protocol::StartTls;

const fn preset(name: &'static str, host: &'static str, ports: &'static [(u16, Protocol)]) -> Preset {
    Preset {
        name,
        host,
        ports,
        user: "the address",
        fixed_user: None,
        password: "the password",
        spf: None,
        dkim: &[],
    }
}

/// Every preset. The first is the default.
pub const PRESETS: &[Preset] = &[
    Preset {
        user: "the API key",
        password: "the secret key",
        spf: Some("spf.mailjet.com"),
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
        ..preset("mailgun", "smtp.mailgun.org", &[(465, TLS), (587, STARTTLS), (2525, STARTTLS)])
    },
    Preset {
        user: "the SMTP login, postmaster@ the domain",
        spf: Some("mailgun.org"),
        ..preset("mailgun-eu", "smtp.eu.mailgun.org", &[(465, TLS), (587, STARTTLS), (2525, STARTTLS)])
    },
    Preset {
        user: "the mailbox",
        spf: Some("spf.migadu.com"),
        dkim: &["key1", "key2", "key3"],
        ..preset("migadu", "smtp.migadu.com", &[(465, TLS), (587, STARTTLS)])
    },
    Preset {
        user: "the server token",
        password: "the same server token",
        spf: Some("spf.mtasv.net"),
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
        dkim: &["s1", "s2"],
        ..preset("sendgrid", "smtp.sendgrid.net", &[(465, TLS), (587, STARTTLS), (2525, STARTTLS)])
    },
    Preset {
        user: "the SMTP user name of the region",
        password: "its SMTP password, which is not the secret access key",
        spf: Some("amazonses.com"),
        ..preset(
            "ses",
            "email-smtp.REGION.amazonaws.com",
            &[(465, TLS), (2465, TLS), (587, STARTTLS), (2587, STARTTLS), (25, STARTTLS)],
        )
    },
    preset("zoho", "smtp.zoho.com", &[(465, TLS), (587, STARTTLS)]),
];

impl Preset {
    /// A preset by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The preset whose server this is.
    #[must_use]
    pub fn of_host(host: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| match preset.host.split_once("REGION") {
            Some((before, after)) => host.starts_with(before) && host.ends_with(after),
            None => preset.host.eq_ignore_ascii_case(host),
        })
    }

    /// The server, for a region where there is one a region.
    ///
    /// # Errors
    ///
    /// What is missing: a region, or a host of one's own.
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
