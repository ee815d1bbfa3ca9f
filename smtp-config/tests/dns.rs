//! SPF, DKIM and DMARC: the evaluators, and the doctor's checks by a DNS server of this test.

use proptest::prelude::*;
use smtp_config::doctor::{Check, Options, Verdict, examine, replay, replay_stripped};
use smtp_config::ini::Ini;
use smtp_config::policy::{Alignment, Answer, Answers, Dkim, DkimError, DmarcError, Policy, Question, Spf};
use smtp_config::policy::{discover, dkim, dmarc, spf, terms};
use smtp_config::{Version, effective};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

/// A zone: texts, addresses and exchanges by name.
#[derive(Clone, Default)]
struct Zone {
    texts: BTreeMap<String, Vec<String>>,
    addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    /// Names that have the address ::1 too.
    loopback: Vec<String>,
    exchanges: BTreeMap<String, Vec<String>>,
    /// Whether it only says that something is wrong with it.
    broken: bool,
}

impl Zone {
    fn text(mut self, name: &str, text: &str) -> Self {
        self.texts.entry(name.to_owned()).or_default().push(text.to_owned());
        self
    }

    fn address(mut self, name: &str, address: [u8; 4]) -> Self {
        self.addresses.entry(name.to_owned()).or_default().push(address.into());
        self
    }

    fn exchange(mut self, name: &str, exchange: &str) -> Self {
        self.exchanges.entry(name.to_owned()).or_default().push(exchange.to_owned());
        self
    }

    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Texts(name) => Answer::Texts(self.texts.get(name).cloned().unwrap_or_default()),
            Question::Exchanges(name) => {
                Answer::Exchanges(self.exchanges.get(name).cloned().unwrap_or_default())
            }
            Question::Addresses(name) => {
                let held = self.addresses.get(name).cloned().unwrap_or_default();
                Answer::Addresses(held.into_iter().map(IpAddr::V4).collect())
            }
        }
    }

    fn resolve<T>(&self, ask: impl Fn(&Answers) -> Result<T, Question>) -> T {
        let mut answers = Answers::default();
        loop {
            match ask(&answers) {
                Ok(found) => return found,
                Err(question) => {
                    let answer = self.answer(&question);
                    answers.insert(question, answer);
                }
            }
        }
    }

    fn spf(&self, address: [u8; 4], domain: &str) -> (Spf, u32) {
        let address = IpAddr::V4(address.into());
        self.resolve(|answers| spf(address, domain, "forge@example.org", "mail.example.org", answers))
    }

    /// Serves it by UDP until the test ends.
    fn serve(self) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = socket.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = self.reply(&buffer[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        address
    }

    fn reply(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (mut at, mut labels) = (12, Vec::new());
        while *query.get(at)? > 0 {
            let length = usize::from(query[at]);
            labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_lowercase());
            at += 1 + length;
        }
        let name = labels.join(".");
        let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
        let data: Vec<Vec<u8>> = match kind {
            1 => self.addresses.get(&name).into_iter().flatten().map(|held| held.octets().to_vec()).collect(),
            28 if self.loopback.contains(&name) => vec![Ipv6Addr::LOCALHOST.octets().to_vec()],
            15 => self.exchanges.get(&name).into_iter().flatten().map(|held| exchange(held)).collect(),
            16 => self.texts.get(&name).into_iter().flatten().map(|held| strings(held)).collect(),
            _ => Vec::new(),
        };
        let mut out = query[..2].to_vec();
        let data = if self.broken { Vec::new() } else { data };
        let failed = if self.broken { 2 } else { 0 };
        out.extend([0x81, 0x80 | failed, 0, 1, 0, u8::try_from(data.len()).ok()?, 0, 0, 0, 0]);
        out.extend(&query[12..at + 5]);
        for data in data {
            out.extend([0xc0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            out.extend(data);
        }
        Some(out)
    }
}

fn exchange(name: &str) -> Vec<u8> {
    let mut out = vec![0, 10];
    for label in name.trim_end_matches('.').split('.') {
        out.push(u8::try_from(label.len()).expect("short"));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

fn strings(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for part in text.as_bytes().chunks(200) {
        out.push(u8::try_from(part.len()).expect("short"));
        out.extend(part);
    }
    out
}

#[test]
fn spf_is_evaluated_as_rfc_7208_says() {
    let zone = Zone::default()
        .text("example.org", "v=spf1 ip4:192.0.2.0/24 a:mail.example.org mx include:more.example.net -all")
        .text("example.org", "something else")
        .text("more.example.net", "v=spf1 exists:%{i}.%{d2}.list.example ~all")
        .address("mail.example.org", [198, 51, 100, 7])
        .exchange("example.org", "mx.example.org.")
        .address("mx.example.org", [203, 0, 113, 9])
        .address("203.0.113.20.example.net.list.example", [127, 0, 0, 2])
        .text("moved.example", "v=spf1 redirect=example.org")
        .text("nowhere.example", "v=spf1 include:nothing.example -all")
        .text("twice.example", "v=spf1 -all")
        .text("twice.example", "v=spf1 +all")
        .text("loop.example", "v=spf1 include:loop.example -all")
        .text("wrong.example", "v=spf1 ip4:300.1.1.1 -all")
        .text("all.example", "v=spf1 ip4:0.0.0.0/0 -all")
        .text("soft.example", "v=spf1 unknown=x ~all");
    assert_eq!(zone.spf([192, 0, 2, 77], "example.org"), (Spf::Pass, 0));
    assert_eq!(zone.spf([198, 51, 100, 7], "example.org"), (Spf::Pass, 1));
    assert_eq!(zone.spf([203, 0, 113, 9], "Example.ORG."), (Spf::Pass, 2));
    assert_eq!(zone.spf([203, 0, 113, 20], "example.org"), (Spf::Pass, 4));
    assert_eq!(zone.spf([203, 0, 113, 21], "example.org"), (Spf::Fail, 4));
    assert_eq!(zone.spf([192, 0, 2, 77], "moved.example"), (Spf::Pass, 1));
    assert_eq!(zone.spf([192, 0, 2, 77], "nothing.example").0, Spf::None);
    assert_eq!(zone.spf([192, 0, 2, 77], "nowhere.example").0, Spf::PermError);
    assert_eq!(zone.spf([192, 0, 2, 77], "twice.example").0, Spf::PermError);
    assert_eq!(zone.spf([192, 0, 2, 77], "loop.example").0, Spf::PermError);
    assert_eq!(zone.spf([192, 0, 2, 77], "wrong.example").0, Spf::PermError);
    assert_eq!(zone.spf([192, 0, 2, 77], "all.example").0, Spf::Pass);
    assert_eq!(zone.spf([192, 0, 2, 77], "soft.example").0, Spf::SoftFail);
    assert!(terms("v=spf1 include -all").is_err() && terms("v=spf1 ip4:1.2.3.4/33").is_err());
}

#[test]
fn terms_and_macros_of_spf_follow_their_grammar() {
    for valid in
        ["a", "a/24", "a//64", "a/24//64", "mx:example.org/24", "x-y.z=1", "ptr:example.org", "exp=%{d}"]
    {
        assert!(terms(&format!("v=spf1 {valid} -all")).is_ok(), "{valid}");
    }
    for invalid in [
        "a:",
        "a/",
        "a/33",
        "a//",
        "a//129",
        "a/24/64",
        "mx:/24",
        "ptr/24",
        "ptr:",
        "redirect=",
        "exp=",
        "-exp=a.example",
        "=x",
        "1x=y",
        "redirect=a.example redirect=b.example",
        "ip4:",
        "ip6:192.0.2.1",
        "all/24",
    ] {
        assert!(terms(&format!("v=spf1 {invalid} -all")).is_err(), "{invalid}");
    }
    // RFC 7208 §7.3: upper case is encoded for URLs; the name of an address that is not looked up is `unknown`.
    let zone = Zone::default()
        .text("p.example", "v=spf1 exists:%{p}.list.example -all")
        .address("unknown.list.example", [127, 0, 0, 2])
        .text("s.example", "v=spf1 exists:%{S}.list.example -all")
        .address("forge%40example.org.list.example", [127, 0, 0, 2])
        .text("c.example", "v=spf1 exists:%{c}.list.example -all");
    assert_eq!(zone.spf([192, 0, 2, 77], "p.example"), (Spf::Pass, 1));
    assert_eq!(zone.spf([192, 0, 2, 77], "s.example"), (Spf::Pass, 1));
    assert_eq!(zone.spf([192, 0, 2, 77], "c.example").0, Spf::PermError, "`c` is for explanations only");
    // §4.6.4: ten hosts at most.
    let many = |count: u8| {
        let zone = Zone::default().text("example.org", "v=spf1 mx -all");
        (0..count).fold(zone, |zone, n| {
            let name = format!("mx{n}.example.org");
            zone.exchange("example.org", &name).address(&name, [192, 0, 2, n])
        })
    };
    assert_eq!(many(10).spf([192, 0, 2, 9], "example.org"), (Spf::Pass, 1));
    assert_eq!(many(11).spf([192, 0, 2, 0], "example.org").0, Spf::PermError);
}

#[test]
fn dmarc_is_found_by_walking_up_and_aligns() {
    let zone = Zone::default()
        .text("_dmarc.example.org", "v=DMARC1; p=reject; sp=quarantine; aspf=s; rua=mailto:x@example.org")
        .text("_dmarc.two.example", "v=DMARC1; p=none")
        .text("_dmarc.two.example", "v=DMARC1; p=reject");
    let of = |domain: &str| zone.resolve(|answers| discover(domain, answers));
    let own = of("example.org").expect("a record");
    assert_eq!((own.policy, own.spf, own.dkim), (Policy::Reject, Alignment::Strict, Alignment::Relaxed));
    let below = of("a.b.example.org").expect("a record");
    assert_eq!((below.policy, below.domain.as_str()), (Policy::Quarantine, "example.org"));
    assert!(below.aligned(Alignment::Relaxed, "a.b.example.org", "mail.example.org"));
    assert!(!below.aligned(Alignment::Strict, "a.b.example.org", "mail.example.org"));
    assert!(!below.aligned(Alignment::Relaxed, "a.b.example.org", "evilexample.org"));
    assert_eq!(of("two.example"), Err(DmarcError::Several));
    assert_eq!(of("other.example"), Err(DmarcError::Missing));
    assert_eq!(dmarc("a.b", "a.b", &["v=spf1 -all".to_owned()]), Ok(None));
}

#[test]
fn keys_of_dkim_are_looked_at() {
    let long = "A".repeat(392);
    let key = |text: String| dkim(&[text]);
    let good = key(format!("v=DKIM1; k=rsa; p={long}"));
    assert_eq!(good, Ok(Dkim { kind: "rsa".to_owned(), length: 392, testing: false }));
    assert_eq!(key(format!("p={long}; t=y:s")).map(|key| key.testing), Ok(true));
    assert_eq!(key("v=DKIM1; p=".to_owned()), Err(DkimError::Revoked));
    assert_eq!(key("v=DKIM1; p=AAAA".to_owned()), Err(DkimError::Short));
    assert_eq!(key(format!("v=DKIM1; k=ed25519; p={}", "A".repeat(44))).map(|key| key.length), Ok(44));
    assert_eq!(key("v=DKIM1; p=*".to_owned()), Err(DkimError::Key));
    assert_eq!(key("v=spf1 -all".to_owned()), Err(DkimError::Missing));
}

fn check<'c>(checks: &'c [Check], name: &str) -> &'c Check {
    checks
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("there is no {name}: {checks:#?}"))
}

async fn examined(zone: Zone, host: &str, more: &str) -> Vec<Check> {
    let text = format!(
        "[mailer]\nENABLED = true\nPROTOCOL = smtps\nSMTP_ADDR = {host}\nSMTP_PORT = 1\nFROM = forge@example.org\n{more}"
    );
    let mailer =
        effective(&Ini::parse(&text).expect("read"), Version(13)).expect("it starts").expect("mail is on");
    let options = Options {
        limit: Duration::from_secs(5),
        resolver: Some(zone.serve()),
        ports: Vec::new(),
        selectors: vec!["forge".to_owned()],
        ..Options::default()
    };
    examine(&mailer, None, &options).await
}

/// Starts an SMTP server without extensions at 127.0.0.1, and returns its port. It refuses names with a blank in EHLO.
fn plain_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"220 mail.example.org\r\n");
            let Ok(reader) = stream.try_clone() else { return };
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let quits = line == "QUIT";
                let _ = stream.write_all(match line.as_str() {
                    "QUIT" => b"221 bye\r\n",
                    "EHLO my forge" => b"501 Syntax: EHLO hostname\r\n",
                    _ => b"250 mail.example.org\r\n",
                });
                if quits {
                    break;
                }
            }
        }
    });
    port
}

#[tokio::test]
async fn the_replay_tries_the_other_family_as_go_does() {
    let port = plain_server();
    let mut zone = Zone::default().address("dual.test", [127, 0, 0, 1]);
    zone.loopback.push("dual.test".to_owned());
    let text = format!(
        "[mailer]\nENABLED = true\nPROTOCOL = smtp\nSMTP_ADDR = dual.test\nSMTP_PORT = {port}\nFROM = forge@example.org\n"
    );
    let ini = Ini::parse(&text).expect("read");
    let mailer = effective(&ini, Version(13)).expect("it starts").expect("mail is on");
    let limit = Duration::from_secs(5);
    let options = Options { limit, resolver: Some(zone.serve()), ..Options::default() };
    for replayed in [replay(&mailer, &options).await, replay_stripped(&mailer, &options).await] {
        assert!(replayed.reaches_message && !replayed.hangs, "{replayed:#?}");
        let connects: Vec<&str> = replayed
            .steps
            .iter()
            .filter(|step| step.does.starts_with("connects to "))
            .map(|step| step.does.as_str())
            .collect();
        let four = format!("connects to 127.0.0.1:{port}");
        assert_eq!(connects.last(), Some(&four.as_str()), "{replayed:#?}");
        // Without IPv6, the other address is the first one.
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            assert_eq!(connects, [format!("connects to [::1]:{port}"), four], "{replayed:#?}");
            assert!(replayed.steps.iter().any(|step| step.outcome.ends_with("it tries the next address")));
        }
    }
}

#[tokio::test]
async fn names_and_addresses_that_are_not_ascii_are_reported() {
    let port = plain_server();
    let of = |host: &str, address: &str| {
        let text = format!(
            "[mailer]\nENABLED = true\nPROTOCOL = smtp\nSMTP_ADDR = {host}\nSMTP_PORT = {port}\nFROM = {address}\n"
        );
        let ini = Ini::parse(&text).expect("read");
        effective(&ini, Version(13)).expect("it starts").expect("mail is on")
    };
    let options = Options {
        limit: Duration::from_secs(5),
        dns: false,
        ports: Vec::new(),
        recipient: Some("someone@example.org".to_owned()),
        ..Options::default()
    };
    let checks = examine(&of("127.0.0.1", "forge@münchen.test"), None, &options).await;
    assert_eq!(check(&checks, "smtputf8").verdict, Verdict::Warning, "{checks:#?}");
    assert_eq!(check(&checks, "smtputf8").fix, "write forge@xn--mnchen-3ya.test");
    let checks = examine(&of("127.0.0.1", "forge@example.org"), None, &options).await;
    assert!(checks.iter().all(|check| check.name != "smtputf8"), "{checks:#?}");
    // Go asks no DNS for such a name.
    let mut zone = Zone::default().address("mail.münchen.de", [127, 0, 0, 1]);
    zone = zone.address("mail.xn--mnchen-3ya.de", [127, 0, 0, 1]);
    let options = Options { resolver: Some(zone.serve()), ..options };
    let host = of("mail.münchen.de", "a@b");
    let checks = examine(&host, None, &options).await;
    assert_eq!(check(&checks, "name").verdict, Verdict::Fail, "{checks:#?}");
    assert!(check(&checks, "name").detail.ends_with("write mail.xn--mnchen-3ya.de"), "{checks:#?}");
    assert!(!replay(&host, &options).await.reaches_message);
    let checks = examine(&of("mail.xn--mnchen-3ya.de", "a@b"), None, &options).await;
    assert_eq!(check(&checks, "name").verdict, Verdict::Pass, "{checks:#?}");
}

#[tokio::test]
async fn a_name_that_ehlo_is_refused_for_is_the_reason() {
    let port = plain_server();
    let text = format!(
        "[mailer]\nENABLED = true\nPROTOCOL = smtp\nSMTP_ADDR = 127.0.0.1\nSMTP_PORT = {port}\nFROM = a@b\n\
         HELO_HOSTNAME = my forge\nUSER = u\nPASSWD = p\n"
    );
    let ini = Ini::parse(&text).expect("read");
    let mailer = effective(&ini, Version(13)).expect("it starts").expect("mail is on");
    let options =
        Options { limit: Duration::from_secs(5), dns: false, ports: Vec::new(), ..Options::default() };
    let checks = examine(&mailer, None, &options).await;
    let ehlo = check(&checks, "ehlo");
    assert_eq!(ehlo.verdict, Verdict::Warning, "{checks:#?}");
    assert!(ehlo.detail.starts_with("EHLO my forge was answered 501 "), "{ehlo:?}");
    let mechanism = check(&checks, "mechanism");
    assert_eq!((ehlo.fix.as_str(), ehlo.fix.contains("HELO_HOSTNAME")), (mechanism.fix.as_str(), true));
    let replayed = replay(&mailer, &options).await;
    let says: Vec<&str> = replayed.steps.iter().map(|step| step.does.as_str()).collect();
    assert!(says.contains(&"says HELO my forge"), "{replayed:#?}");
}

#[tokio::test]
async fn the_doctor_asks_the_dns() {
    let key = format!("v=DKIM1; p={}", "A".repeat(392));
    let good = Zone::default()
        .address("mail.example.org", [127, 0, 0, 1])
        .text("example.org", "v=spf1 a:mail.example.org -all")
        .text("forge._domainkey.example.org", &key)
        .text("_dmarc.example.org", "v=DMARC1; p=reject");
    let checks = examined(good.clone(), "mail.example.org", "").await;
    for name in ["name", "spf", "dkim", "dmarc"] {
        assert_eq!(check(&checks, name).verdict, Verdict::Pass, "{checks:#?}");
    }
    // A provider must be in the record; a bounce address elsewhere is aligned by the key only.
    let elsewhere = examined(good, "127.0.0.1", "ENVELOPE_FROM = b@bounces.example.net\n").await;
    assert!(check(&elsewhere, "dmarc").detail.contains("not aligned"), "{elsewhere:#?}");
    assert_eq!(check(&elsewhere, "dmarc").verdict, Verdict::Note);
    assert!(
        check(&elsewhere, "dmarc")
            .detail
            .ends_with("DKIM passes if the server signs with the key of the domain")
    );
    let bare = Zone::default()
        .address("smtp.fastmail.com", [127, 0, 0, 1])
        .address("in-v3.mailjet.com", [127, 0, 0, 1])
        .text("example.org", "v=spf1 include:other.example -all")
        .text("_dmarc.example.org", "v=DMARC1; p=reject");
    let checks = examined(bare.clone(), "smtp.fastmail.com", "").await;
    assert_eq!(check(&checks, "spf").verdict, Verdict::Warning, "{checks:#?}");
    assert!(check(&checks, "spf").detail.contains("spf.messagingengine.com"));
    // Aligned, but nothing passes: RFC 7489 wants both.
    assert_eq!(check(&checks, "dmarc").verdict, Verdict::Fail, "{checks:#?}");
    // A provider with a return path of its own: SPF is for its domain, and says nothing about this one.
    let checks = examined(bare, "in-v3.mailjet.com", "").await;
    assert_eq!(check(&checks, "spf").verdict, Verdict::Note, "{checks:#?}");
    assert_eq!(check(&checks, "dmarc").verdict, Verdict::Warning, "{checks:#?}");
    // With the null sender the name of EHLO is what SPF identifies.
    let null = Zone::default()
        .address("mail.example.org", [127, 0, 0, 1])
        .text("example.org", "v=spf1 a:mail.example.org -all")
        .text("_dmarc.example.org", "v=DMARC1; p=reject");
    let checks =
        examined(null, "mail.example.org", "ENVELOPE_FROM = <>\nHELO_HOSTNAME = git.example.net\n").await;
    assert_eq!(check(&checks, "dmarc").verdict, Verdict::Fail, "{checks:#?}");
    let open =
        Zone::default().text("example.org", "v=spf1 +all").text("_dmarc.example.org", "v=DMARC1; p=reject");
    let checks = examined(open, "127.0.0.1", "ENVELOPE_FROM = b@c.example\n").await;
    assert_eq!(check(&checks, "spf").verdict, Verdict::Warning, "{checks:#?}");
    assert_eq!(check(&checks, "dmarc").verdict, Verdict::Fail, "{checks:#?}");
}

proptest! {
    #[test]
    fn no_record_stops_the_evaluators(
        words in proptest::collection::vec("[+~?-]?(all|a|mx|ptr|ip4|ip6|include|exists|redirect|exp)[:=/]?[%{}a-z0-9./:_-]{0,12}", 0..8),
        junk in ".{0,40}",
    ) {
        let zone = Zone::default().text("example.org", &format!("v=spf1 {}", words.join(" ")));
        let (_, lookups) = zone.spf([192, 0, 2, 1], "example.org");
        prop_assert!(lookups <= 11);
        let _ = dkim(std::slice::from_ref(&junk));
        let _ = dmarc("a.b", "c.a.b", &[junk]);
    }
}
