// What go-ini, net/mail and the loading of [mailer] say, for the tests: requests come in on the standard input, answers go
// out. A request is a length and that many bytes, the first of which says what is asked. An answer is a list of strings.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/smtp"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"gopkg.in/ini.v1"
)

var options = ini.LoadOptions{KeyValueDelimiterOnWrite: " = ", IgnoreContinuation: true}

func main() {
	ini.PrettyFormat = false
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	defer out.Flush()
	for {
		var size uint32
		if binary.Read(in, binary.BigEndian, &size) != nil {
			return
		}
		request := make([]byte, size)
		if _, err := io.ReadFull(in, request); err != nil {
			return
		}
		answer(out, ask(request[0], request[1:]))
	}
}

func answer(out io.Writer, words []string) {
	binary.Write(out, binary.BigEndian, uint32(len(words)))
	for _, word := range words {
		binary.Write(out, binary.BigEndian, uint32(len(word)))
		io.WriteString(out, word)
	}
}

func ask(what byte, text []byte) (words []string) {
	defer func() {
		switch why := recover().(type) {
		case nil:
		case fatal:
			words = []string{"fatal", string(why)}
		default:
			words = []string{"panic", fmt.Sprint(why)}
		}
	}()
	switch what {
	case 'A':
		address, err := mail.ParseAddress(string(text))
		if err != nil {
			return []string{"refused", err.Error()}
		}
		return []string{"address", address.Name, address.Address}
	case 'E':
		// As environment-to-ini: a value is set, not read, and the file is written.
		file := ini.Empty(options)
		file.Section("mailer").Key("USER").SetValue("me")
		file.Section("mailer").Key("PASSWD").SetValue(string(text))
		file.Section("mailer").Key("LAST").SetValue("1")
		return saved(written(file))
	case 'H':
		host, port, err := net.SplitHostPort(string(text))
		if err != nil {
			return []string{"refused", err.Error()}
		}
		return []string{"split", host, port}
	case 'L', 'M', 'S':
		// The first byte is the major version of Forgejo. Of a session, a port and the file of a root follow, each to the end
		// of its line.
		version, text := int(text[0]), text[1:]
		var port, root []byte
		if what == 'S' {
			port, text, _ = bytes.Cut(text, []byte("\n"))
			root, text, _ = bytes.Cut(text, []byte("\n"))
		}
		file, err := ini.LoadSources(options, text)
		if err != nil {
			return []string{"refused"}
		}
		file.NameMapper = ini.SnackCase
		switch what {
		case 'M':
			return incoming(file, version)
		case 'S':
			held, words := mailer(file, version)
			if words[0] != "on" {
				return words
			}
			return session(held, string(port), string(root))
		}
		_, words := mailer(file, version)
		return words
	case 'P':
		// The first byte says whether there is TLS, the rest is the server's name.
		auth := smtp.PlainAuth("", "user", "password", string(text[1:]))
		_, _, err := auth.Start(&smtp.ServerInfo{Name: string(text[1:]), TLS: text[0] == 't', Auth: []string{"PLAIN"}})
		if err != nil {
			return []string{"refused"}
		}
		return []string{"sent"}
	case 'U':
		return []string{"file", secretFile("PASSWD_URI", string(text))}
	}
	return saved(text)
}

// saved reads a file, writes it, and does so twice more.
func saved(text []byte) (words []string) {
	for round := 0; round < 3; round++ {
		file, err := ini.LoadSources(options, text)
		if err != nil {
			return append(words, "refused")
		}
		words = append(words, "read")
		for _, section := range file.Sections() {
			for _, key := range section.Keys() {
				words = append(words, section.Name(), key.Name(), key.Value(), key.String())
			}
		}
		text = written(file)
		words = append(words, "written", string(text))
	}
	return words
}

func written(file *ini.File) []byte {
	var out bytes.Buffer
	if _, err := file.WriteTo(&out); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// fatal is a start that ends, with the text of the log.
type fatal string

func stop(format string, values ...any) {
	panic(fatal(fmt.Sprintf(format, values...)))
}

// secretFile is the path that is opened for a URI; nothing is read here.
func secretFile(key, uri string) string {
	parsed, err := url.Parse(uri)
	if err != nil {
		stop("Failed to parse %s", key)
	}
	if parsed.Scheme != "file" {
		stop("Unsupported URI-Scheme %s", key)
	}
	return parsed.RequestURI()
}

// secret is a password as it is written, or the path of its file.
func secret(section *ini.Section, uriKey, key string) (string, string) {
	uri, plain := section.Key(uriKey).String(), section.Key(key).String()
	switch {
	case uri == "":
		return plain, ""
	case plain != "":
		stop("Cannot specify both %s and %s", uriKey, key)
	}
	return "", secretFile(uriKey, uri)
}

// alias gives a missing key the value of another.
func alias(section *ini.Section, other, key string) {
	if section.HasKey(other) && !section.HasKey(key) {
		section.Key(key).SetValue(section.Key(other).String())
	}
}

type settings struct {
	From                 string `ini:"FROM"`
	EnvelopeFrom         string `ini:"ENVELOPE_FROM"`
	SendAsPlainText      bool   `ini:"SEND_AS_PLAIN_TEXT"`
	SubjectPrefix        string `ini:"SUBJECT_PREFIX"`
	Protocol             string `ini:"PROTOCOL"`
	Addr                 string `ini:"SMTP_ADDR"`
	Port                 string `ini:"SMTP_PORT"`
	User                 string `ini:"USER"`
	Passwd               string `ini:"PASSWD"`
	EnableHelo           bool   `ini:"ENABLE_HELO"`
	HeloHostname         string `ini:"HELO_HOSTNAME"`
	ForceTrustServerCert bool   `ini:"FORCE_TRUST_SERVER_CERT"`
	UseClientCert        bool   `ini:"USE_CLIENT_CERT"`
	ClientCertFile       string `ini:"CLIENT_CERT_FILE"`
	ClientKeyFile        string `ini:"CLIENT_KEY_FILE"`
	SendmailPath         string `ini:"SENDMAIL_PATH"`
}

// mailer loads [mailer] with the calls of go-ini and of Go that Forgejo makes, in their order.
func mailer(file *ini.File, version int) (settings, []string) {
	section := file.Section("mailer")
	if !section.Key("ENABLED").MustBool() {
		return settings{}, []string{"off"}
	}
	missing := func(key string) bool { return !section.HasKey(key) }
	if section.HasKey("MAILER_TYPE") && missing("PROTOCOL") && section.Key("MAILER_TYPE").String() == "sendmail" {
		section.Key("PROTOCOL").MustString("sendmail")
	}
	if section.HasKey("HOST") && missing("SMTP_ADDR") {
		given := section.Key("HOST").String()
		host, port, err := net.SplitHostPort(given)
		if err != nil {
			if !strings.Contains(err.Error(), "missing port in address") {
				stop("Invalid mailer.HOST (%s): %v", given, err)
			}
			host = given
		}
		if host == "" {
			host = "127.0.0.1"
		}
		section.Key("SMTP_ADDR").MustString(host)
		section.Key("SMTP_PORT").MustString(port)
	}
	if section.HasKey("IS_TLS_ENABLED") && missing("PROTOCOL") {
		protocol := "smtp+starttls"
		if section.Key("IS_TLS_ENABLED").MustBool() {
			protocol = "smtps"
		}
		section.Key("PROTOCOL").MustString(protocol)
	}
	for _, renamed := range []struct {
		old, key string
		inverted bool
	}{
		{"DISABLE_HELO", "ENABLE_HELO", true},
		{"SKIP_VERIFY", "FORCE_TRUST_SERVER_CERT", false},
		{"USE_CERTIFICATE", "USE_CLIENT_CERT", false},
		{"ENABLE_HTML_ALTERNATIVE", "SEND_AS_PLAIN_TEXT", true},
	} {
		if section.HasKey(renamed.old) && missing(renamed.key) {
			section.Key(renamed.key).MustBool(section.Key(renamed.old).MustBool() != renamed.inverted)
		}
	}
	if section.HasKey("PROTOCOL") && section.Key("PROTOCOL").String() == "smtp+startls" {
		section.Key("PROTOCOL").SetValue("smtp+starttls")
	}
	if version >= 8 {
		alias(section, "USERNAME", "USER")
		alias(section, "PASSWORD", "PASSWD")
	}
	path := ""
	if version >= 13 {
		alias(section, "PASSWORD_URI", "PASSWD_URI")
		var plain string
		plain, path = secret(section, "PASSWD_URI", "PASSWD")
		section.Key("PASSWD").SetValue(plain)
	}
	name := file.Section("").Key("APP_NAME").MustString("Forgejo: Beyond coding. We Forge.")
	section.Key("NAME").MustString(name)
	section.Key("ENABLE_HELO").MustBool(true)
	section.Key("FORCE_TRUST_SERVER_CERT").MustBool(false)
	section.Key("USE_CLIENT_CERT").MustBool(false)
	section.Key("SENDMAIL_PATH").MustString("sendmail")
	if timeout := section.Key("SENDMAIL_TIMEOUT").String(); version >= 17 && timeout != "" {
		if _, err := time.ParseDuration(timeout); err != nil {
			stop("Failed to parse duration for [mailer].SENDMAIL_TIMEOUT: %q", timeout)
		}
	}
	section.Key("FROM").MustString(section.Key("USER").String())
	held := settings{}
	if err := section.MapTo(&held); err != nil {
		stop("%v", err)
	}
	var headers []string
	if version >= 8 {
		for _, key := range file.Section("mailer.override_header").Keys() {
			headers = append(headers, key.Name())
			headers = append(headers, key.Strings(",")...)
		}
	}
	ports := map[string]string{"smtp": "25", "smtps": "465", "smtp+starttls": "587"}
	if held.Port == "" {
		held.Port = ports[held.Protocol]
	}
	if held.Protocol == "" && strings.ContainsAny(held.Addr, "/\\") {
		held.Protocol = "smtp+unix"
	}
	if held.Protocol == "" {
		held.Protocol = "smtps"
		for protocol, port := range ports {
			if held.Port == port {
				held.Protocol = protocol
			}
		}
		if held.Port == "" {
			held.Port = "465"
		}
	}
	var sender mail.Address
	if held.From != "" {
		parsed, err := mail.ParseAddress(held.From)
		if err != nil {
			stop("Invalid mailer.FROM (%s): %v", held.From, err)
		}
		sender = *parsed
	}
	envelope := sender.Address
	switch held.EnvelopeFrom {
	case "":
	case "<>":
		envelope = ""
	default:
		parsed, err := mail.ParseAddress(held.EnvelopeFrom)
		if err != nil {
			stop("Invalid mailer.ENVELOPE_FROM (%s): %v", held.EnvelopeFrom, err)
		}
		envelope = parsed.Address
	}
	words := []string{
		"on", held.Protocol, held.Addr, held.Port, held.User, held.Passwd, path, held.From, sender.Name, sender.Address,
		envelope, strconv.FormatBool(held.EnableHelo), held.HeloHostname, strconv.FormatBool(held.ForceTrustServerCert),
		strconv.FormatBool(held.UseClientCert), held.SubjectPrefix, strconv.FormatBool(held.SendAsPlainText), held.SendmailPath,
	}
	return held, append(words, headers...)
}

// session holds the conversation about one message by net/smtp, with a server at a port of this machine.
func session(held settings, port, root string) []string {
	failed := func(stage string, why any) []string { return []string{"failed", stage, fmt.Sprint(why)} }
	connection, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return failed("connect", err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(20 * time.Second))
	encrypted := held.Protocol == "smtps" || held.Protocol == "smtp+starttls"
	config := &tls.Config{ServerName: held.Addr, InsecureSkipVerify: held.ForceTrustServerCert, RootCAs: x509.NewCertPool()}
	if pem, err := os.ReadFile(root); err != nil || !config.RootCAs.AppendCertsFromPEM(pem) {
		return failed("root", err)
	}
	if encrypted && held.UseClientCert {
		pair, err := tls.LoadX509KeyPair(held.ClientCertFile, held.ClientKeyFile)
		if err != nil {
			return failed("client certificate", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if held.Protocol == "smtps" {
		connection = tls.Client(connection, config)
	}
	client, err := smtp.NewClient(connection, "localhost")
	if err != nil {
		return failed("greeting", err)
	}
	if held.EnableHelo {
		name := held.HeloHostname
		if name == "" {
			name = "machine.example.org"
		}
		if err := client.Hello(name); err != nil {
			return failed("hello", err)
		}
	}
	if offered, _ := client.Extension("STARTTLS"); offered && held.Protocol == "smtp+starttls" {
		if err := client.StartTLS(config); err != nil {
			return failed("starttls", err)
		}
	}
	if offered, mechanisms := client.Extension("AUTH"); held.User != "" {
		if !offered {
			return failed("auth", "not offered")
		}
		if auth := chosen(mechanisms, held); auth != nil {
			if err := client.Auth(auth); err != nil {
				return failed("auth", err)
			}
		}
	}
	// A message needs the transaction to begin; what it says is not of interest here.
	if err := client.Mail("forge@example.org"); err != nil {
		return failed("mail", err)
	}
	if err := client.Quit(); err != nil {
		return failed("quit", err)
	}
	return []string{"sent"}
}

func chosen(mechanisms string, held settings) smtp.Auth {
	for _, each := range []struct {
		name string
		auth smtp.Auth
	}{
		{"CRAM-MD5", smtp.CRAMMD5Auth(held.User, held.Passwd)},
		{"PLAIN", smtp.PlainAuth("", held.User, held.Passwd, "localhost")},
		{"LOGIN", login{held.User, held.Passwd}},
	} {
		if strings.Contains(mechanisms, each.name) {
			return each.auth
		}
	}
	return nil
}

// login is the mechanism that Go lacks.
type login struct{ user, password string }

func (held login) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", []byte{}, nil }

func (held login) Next(asked []byte, more bool) ([]byte, error) {
	switch {
	case !more:
		return nil, nil
	case string(asked) == "Username:":
		return []byte(held.user), nil
	case string(asked) == "Password:":
		return []byte(held.password), nil
	}
	return nil, fmt.Errorf("unexpected question %q", asked)
}

type incomingSettings struct {
	Enabled              bool
	ReplyToAddress       string
	Host                 string
	Port                 int
	UseTLS               bool `ini:"USE_TLS"`
	SkipTLSVerify        bool `ini:"SKIP_TLS_VERIFY"`
	Username             string
	Password             string
	Mailbox              string
	DeleteHandledMessage bool
}

// incoming loads [email.incoming] likewise.
func incoming(file *ini.File, version int) []string {
	section := file.Section("email.incoming")
	held := incomingSettings{Mailbox: "INBOX", DeleteHandledMessage: true}
	if err := section.MapTo(&held); err != nil {
		stop("%v", err)
	}
	if !held.Enabled {
		return []string{"off"}
	}
	path := ""
	if version >= 8 {
		if section.HasKey("USER") && !section.HasKey("USERNAME") {
			held.Username = section.Key("USER").String()
		}
		if version < 13 {
			if section.HasKey("PASSWD") && !section.HasKey("PASSWORD") {
				held.Password = section.Key("PASSWD").String()
			}
		} else {
			alias(section, "PASSWD", "PASSWORD")
			alias(section, "PASSWD_URI", "PASSWORD_URI")
			held.Password, path = secret(section, "PASSWORD_URI", "PASSWORD")
		}
		if held.Port == 0 {
			held.Port = 143
			if held.UseTLS {
				held.Port = 993
			}
		}
	}
	address, token := held.ReplyToAddress, "%{token}"
	refused := func(why any) { stop("Invalid incoming_mail.REPLY_TO_ADDRESS (%s): %v", address, why) }
	parsed, err := mail.ParseAddress(address)
	switch {
	case err != nil:
		refused(err)
	case parsed.Name != "":
		refused("name must not be set")
	case strings.Count(address, token) > 1:
		refused(token + " must appear only once")
	case !strings.Contains(strings.Split(address, "@")[0], token):
		refused(token + " must appear in the user part of the address (before the @)")
	}
	return []string{
		"on", address, held.Host, strconv.Itoa(held.Port), strconv.FormatBool(held.UseTLS), strconv.FormatBool(held.SkipTLSVerify),
		held.Username, held.Password, path, held.Mailbox, strconv.FormatBool(held.DeleteHandledMessage),
	}
}
