// What go-ini and net/mail say, for the tests: requests come in on the standard input, answers go out.
// A request is a length and that many bytes, the first of which says what is asked. An answer is a list of strings.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/mail"
	"net/smtp"
	"os"

	"gopkg.in/ini.v1"
)

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
		if why := recover(); why != nil {
			words = []string{"panic", fmt.Sprint(why)}
		}
	}()
	if what == 'A' {
		address, err := mail.ParseAddress(string(text))
		if err != nil {
			return []string{"refused"}
		}
		return []string{"address", address.Name, address.Address}
	}
	if what == 'P' {
		// The first byte says whether there is TLS, the rest is the server's name.
		auth := smtp.PlainAuth("", "user", "password", string(text[1:]))
		_, _, err := auth.Start(&smtp.ServerInfo{Name: string(text[1:]), TLS: text[0] == 't', Auth: []string{"PLAIN"}})
		if err != nil {
			return []string{"refused"}
		}
		return []string{"sent"}
	}
	if what == 'E' {
		// As environment-to-ini: a value is set, not read, and the file is written.
		file := ini.Empty(ini.LoadOptions{KeyValueDelimiterOnWrite: " = ", IgnoreContinuation: true})
		file.Section("mailer").Key("USER").SetValue("me")
		file.Section("mailer").Key("PASSWD").SetValue(string(text))
		file.Section("mailer").Key("LAST").SetValue("1")
		var written bytes.Buffer
		if _, err := file.WriteTo(&written); err != nil {
			return []string{"not written"}
		}
		text = written.Bytes()
	}
	for round := 0; round < 3; round++ {
		file, err := ini.LoadSources(ini.LoadOptions{KeyValueDelimiterOnWrite: " = ", IgnoreContinuation: true}, text)
		if err != nil {
			return append(words, "refused")
		}
		words = append(words, "read")
		for _, section := range file.Sections() {
			for _, key := range section.Keys() {
				words = append(words, section.Name(), key.Name(), key.Value(), key.String())
			}
		}
		var written bytes.Buffer
		if _, err := file.WriteTo(&written); err != nil {
			return append(words, "not written")
		}
		words = append(words, "written", written.String())
		text = written.Bytes()
	}
	return words
}
