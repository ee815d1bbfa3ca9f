# Serves a few sites to a few clients for two minutes and writes the status page into $page. Runs in network and mount
# namespaces of its own.
set -eu
ip link set lo up
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null; rm -rf "$work"' EXIT
# Where certificates are on a real machine.
mount -t tmpfs none /var/lib
acme=/var/lib/acme/example.org
mkdir -p $acme
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=example.org \
    -addext 'subjectAltName=DNS:example.org,DNS:*.example.org' -keyout $acme/key.pem \
    -out $acme/fullchain.pem 2> /dev/null
chmod 600 $acme/key.pem
cp "$files/edge.toml" "$work/edge.toml"
python3 "$origin" &
sleep 1
"$edge" run --workers 2 --config "$work/edge.toml" &
sleep 1
ask() {
    host=$1; shift
    "$curl" -sk -o /dev/null --max-time 5 --resolve "$host:443:127.0.0.1" "$@" "https://$host/" || true
}
client() {
    pause=$1; shift
    while sleep "$pause"; do ask "$@"; done
}
client 0.02 git.example.org --http2 &
client 0.05 git.example.org --http3-only &
client 0.2 git.example.org --http1.1 &
client 0.1 vault.example.org --http3-only &
client 0.3 headscale.example.org --http2 &
client 2 www.example.org --http2 &
# Scanners know no name.
client 4 203-0-113-1.example.net &
sleep 60
client 0.03 vault.example.org --http2 &
sleep 65
"$curl" -sS --fail http://127.0.0.1:9180/ > "$page"
