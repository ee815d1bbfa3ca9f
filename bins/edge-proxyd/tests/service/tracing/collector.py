"""A collector of OTLP over HTTP that reads messages by OpenTelemetry's own definitions. Each span is a line of JSON on standard
output. The first request is answered 503, as one that is just starting would."""

import http.server
import json
import sys

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

starting = True


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global starting
        content = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = 200, service.ExportTraceServiceResponse().SerializeToString()
        if starting:
            starting, status, answer = False, 503, b""
        elif self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
            status = 400
        elif self.headers["Authorization"] != "Bearer hunter2":
            status = 401
        else:
            self.take(service.ExportTraceServiceRequest.FromString(content))
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def take(self, message):
        for resource in message.resource_spans:
            of = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {
                        one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes
                    }
                    print(
                        json.dumps(
                            {
                                "service": of["service.name"],
                                "trace": span.trace_id.hex(),
                                "span": span.span_id.hex(),
                                "parent": span.parent_span_id.hex(),
                                "state": span.trace_state,
                                "kind": MessageToDict(span)["kind"],
                                "name": span.name,
                                "start": span.start_time_unix_nano,
                                "end": span.end_time_unix_nano,
                                "flags": span.flags,
                                "failed": span.status.code == 2,
                                "attributes": attributes,
                            }
                        ),
                        flush=True,
                    )

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Collector).serve_forever()
