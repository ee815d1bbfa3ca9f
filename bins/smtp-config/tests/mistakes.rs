//! Realistic mistakes: each is answered with its file, line, value and fix.

use testkit::mistakes::{Mistake, check, file, together, usage};

const MISTAKES: [Mistake; 36] = [
    file(1, "from = \"forge\"\n", "forge", "Name <local@domain>"),
    file(1, "from = 1\n", "from = 1", "quotes"),
    file(1, "form = \"a@b\"\n", "form", "did you mean `from`?"),
    file(
        2,
        "from = \"Forge <forge@example.org>\"\nhost = \"https://mail.example.org\"\n",
        "https://mail.example.org",
        "name only",
    ),
    file(2, "from = \"Forge <forge@example.org>\"\nhost = \"mail example\"\n", "mail example", "name only"),
    file(2, "from = \"Forge <forge@example.org>\"\nport = \"465\"\n", "\"465\"", "without quotes"),
    file(2, "from = \"Forge <forge@example.org>\"\nport = 70000\n", "70000", "65535"),
    file(2, "from = \"Forge <forge@example.org>\"\nport = 0\n", "port = 0", "1 to 65535"),
    file(2, "from = \"Forge <forge@example.org>\"\nprotocol = \"tls\"\n", "tls", "write smtps"),
    file(2, "from = \"Forge <forge@example.org>\"\nprotocol = \"starttls\"\n", "starttls", "smtp+starttls"),
    file(2, "from = \"Forge <forge@example.org>\"\nprotocol = \"smtp+unix\"\n", "smtp+unix", "socket"),
    file(
        2,
        "from = \"Forge <forge@example.org>\"\npreset = \"mailjett\"\n",
        "mailjett",
        "did you mean `mailjet`?",
    ),
    file(2, "from = \"Forge <forge@example.org>\"\nsocket = \"run/smtp\"\n", "run/smtp", "begin it with /"),
    file(
        2,
        "from = \"Forge <forge@example.org>\"\nsendmail = \"./sendmail\"\n",
        "./sendmail",
        "begin it with /",
    ),
    file(2, "from = \"Forge <forge@example.org>\"\nserver = \"mail.example.org\"\n", "server", "write host"),
    file(
        2,
        "from = \"Forge <forge@example.org>\"\nsmtp_addr = \"mail.example.org\"\n",
        "smtp_addr",
        "write host",
    ),
    file(2, "from = \"Forge <forge@example.org>\"\npasswd = \"hunter2\"\n", "passwd", "file:/run/secrets"),
    file(
        3,
        "from = \"Forge <forge@example.org>\"\nuser = \"u\"\npassword = \"hunter2\"\n",
        "password",
        "file:/path",
    ),
    file(2, "from = \"Forge <forge@example.org>\"\npassword = \"file:/run/secrets/x\"\n", "password", "user"),
    file(
        3,
        "from = \"Forge <forge@example.org>\"\nuser = \"u\"\npassword = \"file:/nonexistent/x\"\n",
        "/nonexistent/x",
        "write the secret to this file",
    ),
    file(
        3,
        "from = \"Forge <forge@example.org>\"\nuser = \"u\"\npassword_file = \"rel\"\n",
        "rel",
        "begin it with /",
    ),
    file(2, "from = \"Forge <forge@example.org>\"\nusername = \"u\"\n", "username", "write user"),
    file(2, "from = \"Forge <forge@example.org>\"\nplain_text = \"yes\"\n", "\"yes\"", "true or false"),
    file(2, "from = \"Forge <forge@example.org>\"\nheaders = \"X-A: b\"\n", "headers", "[headers]"),
    file(3, "from = \"Forge <forge@example.org>\"\n[headers]\n\"X A\" = \"b\"\n", "X A", "letters"),
    file(
        2,
        "from = \"Forge <forge@example.org>\"\nsendmail_args = \"-i\"\n",
        "-i",
        "sendmail_args = [\"-i\"]",
    ),
    file(
        2,
        "from = \"Forge <forge@example.org>\"\n[incoming]\nhost = \"a\"\nusername = \"u\"\n",
        "incoming.reply_to",
        "reply_to =",
    ),
    file(
        3,
        "from = \"Forge <forge@example.org>\"\n[incoming]\nreply_to = \"x\"\nhost = \"a\"\nusername = \"u\"\n",
        "incoming.reply_to",
        "%{token}",
    ),
    file(
        5,
        "from = \"Forge <forge@example.org>\"\n[incoming]\nreply_to = \"in+%{token}@example.org\"\nusername = \"u\"\nhost = \"imap://a\"\n",
        "imap://a",
        "name only",
    ),
    file(1, "from = Forge\n", "not valid TOML", "in quotes"),
    file(
        3,
        "from = \"Forge <forge@example.org>\"\nuser = \"u\"\npassword = \"file:secret\"\n",
        "password",
        "write file:/path, with the path from / on",
    ),
    file(
        3,
        "from = \"Forge <forge@example.org>\"\nuser = \"u\"\npassword = \"age:a?identity=/b\"\n",
        "password",
        "write age:/path?identity=/path, with the path",
    ),
    usage(
        &["render", "--from", "a@b", "--user", "u", "--password", "file:secret"],
        "--password",
        "write file:/path, with the path from / on",
    ),
    usage(&["render", "--port", "0"], "--port", "from 1 to"),
    usage(&["rendr"], "rendr", "render"),
    usage(&["render", "--preset", "gmial"], "gmial", "gmail"),
];

#[test]
fn every_mistake_is_named_with_its_place_value_and_fix() {
    check(env!("CARGO_BIN_EXE_smtp-config"), "mailer.toml", &["render", "--settings", "FILE"], &MISTAKES);
}

#[test]
fn mistakes_of_form_and_of_meaning_are_named_together() {
    let text = "form = \"x\"\nfrom = \"Forge <forge@example.org>\"\nhost = \"https://mail.example.org\"\nport = \"465\"\n\
                password_file = \"rel\"\n\n[incoming]\nreply_to = \"x\"\nhost = \"imap.example.org\"\nusername = \"u\"\n";
    let wanted = [(1, "form"), (3, "host"), (4, "port"), (5, "password_file"), (8, "incoming.reply_to")];
    let args = ["render", "--settings", "FILE"];
    assert_eq!(
        together(env!("CARGO_BIN_EXE_smtp-config"), "mailer.toml", &args, text, &wanted),
        wanted.len()
    );
}

/// Whatever happens, programs read one document.
#[test]
fn each_answer_is_one_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("app.ini", "[mailer]\nENABLED = true\nPROTOCOL = carrier-pigeon\nFROM = a@b\n");
    write("dead.ini", "[mailer]\nENABLED = true\nFROM = a..b@c\nHOST = m\n");
    write("broken.ini", "[mailer]\nno delimiter\n");
    let answer = |code: i32, args: &[&str]| {
        testkit::document(env!("CARGO_BIN_EXE_smtp-config"), folder.path(), args, code)
    };
    answer(0, &["render", "--from", "a@b"]);
    answer(0, &["explain", "app.ini"]);
    answer(3, &["check", "app.ini"]);
    for command in
        [&["explain", "broken.ini"][..], &["check", "broken.ini"], &["migrate", "--app-ini", "broken.ini"]]
    {
        answer(2, command);
    }
    for command in ["migrate", "doctor", "trace"] {
        let refused = testkit::findings(&answer(2, &[command, "--app-ini", "dead.ini"]));
        assert_eq!(
            (&refused[0]["place"]["line"], &refused[0]["code"]),
            (&3.into(), &"from-refused".into()),
            "{command}"
        );
    }
    answer(2, &["apply", "--app-ini", "app.ini", "--from", "a..b@c"]);
    answer(2, &["doctor", "--app-ini", "app.ini", "--limit", "0"]);
    answer(2, &["send-test", "--app-ini", "app.ini", "--to", "nobody"]);
    let send = [
        "send-test",
        "--from",
        "a@b.test",
        "--host",
        "127.0.0.1",
        "--port",
        "1",
        "--protocol",
        "smtp",
        "--to",
        "b@b.test",
    ];
    answer(1, &send);
    answer(2, &["trace"]);
    answer(2, &["render"]);
    answer(2, &["rendr"]);
}
