//! Realistic mistakes: each is answered with its file, line, value and fix.

use testkit::mistakes::{Mistake, check, file, usage};

const MISTAKES: [Mistake; 33] = [
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
        "cannot be read",
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
    file(1, "from = Forge\n", "not valid TOML", "key = value"),
    usage(&["render", "--port", "0"], "--port", "1.."),
    usage(&["rendr"], "rendr", "render"),
    usage(&["render", "--preset", "gmial"], "gmial", "gmail"),
];

#[test]
fn every_mistake_is_named_with_its_place_value_and_fix() {
    check(env!("CARGO_BIN_EXE_smtp-config"), "mailer.toml", &["render", "--settings", "FILE"], &MISTAKES);
}
