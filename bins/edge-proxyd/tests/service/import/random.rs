//! Random configurations of nginx, within what both programs can express and somewhat beyond it.

use std::fmt::Write;

/// A generator of numbers from a seed (an LCG with the constants of Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

const LISTENS: &[&str] =
    &["80", "80", "443 ssl", "443 ssl", "100.64.0.2:80", "100.64.0.2:443 ssl", "8080", "[::]:80"];
const NAMES: &[&str] =
    &["a.test", "b.test", "www.a.test", "*.c.test", ".d.test", "x.c.test", "~^(e|f)\\.test$"];
const PATHS: &[&str] = &[
    "/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/admin", "/admin/", "/admin/x", "/Admin", "/api/", "/a.b",
    "/x%20y",
];
const EXPRESSIONS: &[&str] = &[
    "^/a",
    "^/a/",
    "^/(a|api)/",
    "^/admin$",
    "^/admin(/|$)",
    "\\.php$",
    "/b",
    "^/api/.*\\.bak$",
    "(/a)?/b",
    "^/[a-c]+/x",
    "^/a\\.b",
    "/\\.(?!well-known)",
    "^/admin(/x){0,2}$",
    "^/api{0,1}/",
    "^/a/.+",
    "/b.+$",
    "^/(a/){2}",
];
const RANGES: &[&str] =
    &["10.0.0.0/8", "10.1.0.0/16", "10.1.1.5", "192.168.0.0/16", "198.51.100.0/24", "all", "2001:db8::/32"];

/// Returns the configuration of a seed.
pub(super) fn configuration(seed: u64) -> String {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..4 {
        numbers.below(2);
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, "geo $lan {{\n  default 0;\n  10.0.0.0/8 1;\n  10.1.0.0/16 {};\n}}", numbers.below(2));
    let _ = writeln!(text, "map $host $mapped {{\n  default 127.0.0.1:3001;\n  a.test 127.0.0.1:3002;\n}}");
    if numbers.chance(3) {
        let header = numbers.one(&["X-Real-IP", "X-Forwarded-For", "CF-Connecting-IP"]);
        let recursive = if numbers.chance(4) { "off" } else { "on" };
        let _ = writeln!(
            text,
            "set_real_ip_from 198.51.100.7;\nreal_ip_header {header};\nreal_ip_recursive {recursive};"
        );
    }
    if numbers.chance(6) {
        rules(&mut numbers, &mut text, "");
    }
    for number in 0..1 + numbers.below(4) {
        server(&mut numbers, &mut text, number == 0);
    }
    text
}

/// Writes a server. The first one may answer for names that no server has.
fn server(numbers: &mut Numbers, text: &mut String, first: bool) {
    let _ = writeln!(text, "server {{");
    let mut listens: Vec<&str> = (0..1 + numbers.below(2)).map(|_| numbers.one(LISTENS)).collect();
    listens.sort_unstable();
    listens.dedup();
    let default = if first && numbers.chance(3) { " default_server" } else { "" };
    for listen in listens {
        let _ = writeln!(text, "  listen {listen}{default};");
    }
    if !default.is_empty() {
        let _ = writeln!(text, "  ssl_certificate any.pem;\n  ssl_certificate_key any.key;");
    }
    let mut names: Vec<&str> = (0..1 + numbers.below(2)).map(|_| numbers.one(NAMES)).collect();
    names.sort_unstable();
    names.dedup();
    let _ = writeln!(text, "  server_name {};", names.join(" "));
    if numbers.chance(8) {
        let _ = writeln!(text, "  set_real_ip_from 10.0.0.0/8;\n  real_ip_header X-Real-IP;");
    }
    if numbers.chance(4) {
        rules(numbers, text, "  ");
    }
    if numbers.chance(6) {
        let _ = writeln!(text, "  auth_basic x;\n  auth_basic_user_file users;");
    }
    if numbers.chance(8) {
        let _ = writeln!(text, "  satisfy any;");
    }
    if numbers.chance(4) {
        condition(numbers, text, "  ");
    }
    if numbers.chance(12) {
        let _ = writeln!(text, "  rewrite ^/old(/.*)?$ /new permanent;");
    }
    if numbers.chance(10) {
        let _ = writeln!(
            text,
            "  return {};",
            numbers.one(&["403", "404", "444", "301 https://$host$request_uri", "200 ok"])
        );
    }
    let _ = writeln!(text, "  location @app {{");
    if numbers.chance(3) {
        rules(numbers, text, "    ");
    }
    let _ = writeln!(text, "    proxy_pass http://127.0.0.1:3000;\n  }}");
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..1 + numbers.below(5) {
        location(numbers, text, &mut seen, "", 0);
    }
    let _ = writeln!(text, "}}");
}

fn location(numbers: &mut Numbers, text: &mut String, seen: &mut Vec<String>, within: &str, depth: usize) {
    let modifier = numbers.one(&["", "", "", "", "=", "^~", "~", "~*"]);
    let expression = modifier.starts_with('~');
    let mut path = numbers.one(if expression { EXPRESSIONS } else { PATHS }).to_owned();
    if !expression && !path.starts_with(within) {
        path = format!("{}{path}", within.trim_end_matches('/'));
    }
    let mut key = format!("{modifier} {path}");
    if !expression && modifier != "=" {
        key = path.clone();
    }
    if seen.contains(&key) || within == "=" {
        return;
    }
    seen.push(key);
    let written = if path.contains('{') { format!("\"{path}\"") } else { path.clone() };
    let _ = writeln!(text, "  location {modifier} {written} {{");
    if numbers.chance(3) {
        rules(numbers, text, "    ");
    }
    if numbers.chance(6) {
        let _ =
            writeln!(text, "    auth_basic {};\n    auth_basic_user_file users;", numbers.one(&["x", "off"]));
    }
    if numbers.chance(8) {
        let _ = writeln!(text, "    satisfy {};", numbers.one(&["any", "all"]));
    }
    if numbers.chance(8) {
        let _ =
            writeln!(text, "    limit_except {} {{ deny all; }}", numbers.one(&["GET", "GET POST", "POST"]));
    }
    if numbers.chance(6) {
        condition(numbers, text, "    ");
    }
    let port = 3000 + numbers.below(3);
    let plain = numbers.below(13);
    let line = match plain {
        0 => "return 403;".to_owned(),
        1 => format!(
            "return {};",
            numbers.one(&["404", "410", "444", "204", "200 text", "302 /elsewhere", "301 $scheme://$host/x"])
        ),
        2 => "deny all;".to_owned(),
        3 if !expression => {
            format!("proxy_pass http://127.0.0.1:{port}/{};", numbers.one(&["", "base/", "base"]))
        }
        4 => "proxy_pass http://$mapped;".to_owned(),
        5 => format!("internal; proxy_pass http://127.0.0.1:{port};"),
        6 => format!(
            "rewrite ^{}(.*)$ {} break; proxy_pass http://127.0.0.1:{port};",
            if expression { "/a/" } else { path.as_str() },
            numbers.one(&["/$1", "$1", "/n/$1"])
        ),
        12 if depth == 0 => "try_files $uri @app;".to_owned(),
        7 => format!(
            "client_max_body_size {}; proxy_pass http://127.0.0.1:{port};",
            numbers.one(&["1k", "0", "2m"])
        ),
        _ => format!("proxy_pass http://127.0.0.1:{port};"),
    };
    let _ = writeln!(text, "    {line}");
    if !expression && modifier != "=" && depth < 2 && numbers.chance(6) {
        location(numbers, text, seen, &path, depth + 1);
    }
    let _ = writeln!(text, "  }}");
}

fn rules(numbers: &mut Numbers, text: &mut String, indent: &str) {
    for _ in 0..1 + numbers.below(3) {
        let _ =
            writeln!(text, "{indent}{} {};", numbers.one(&["allow", "allow", "deny"]), numbers.one(RANGES));
    }
    if numbers.chance(2) {
        let _ = writeln!(text, "{indent}deny all;");
    }
}

fn condition(numbers: &mut Numbers, text: &mut String, indent: &str) {
    let condition = numbers.one(&[
        "$lan = 0",
        "$lan",
        "$host = a.test",
        "$host != a.test",
        "$scheme = http",
        "$request_method = POST",
        "$request_method !~ ^(GET|HEAD)$",
        "$request_method ~ ^P",
        "$request_method ~* \"post|t$\"",
        "$request_method !~ ^P",
        "$uri ~* ^/ADMIN",
        "$uri ~ \"^/admin(/x){0,1}$\"",
        "$request_uri ~ ^/admin",
        "$uri = /a",
        "$remote_addr = 10.1.1.5",
        "$http_x_key != secret",
        "$server_port = 443",
    ]);
    let answer = numbers.one(&[
        "return 403",
        "return 404",
        "return 444",
        "return 503",
        "return 301 https://$host$request_uri",
        "return 302 /in",
        "set $x y",
    ]);
    let _ = writeln!(text, "{indent}if ({condition}) {{ {answer}; }}");
}
