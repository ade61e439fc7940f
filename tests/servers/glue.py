"""A Glue that answers what moto does not: the listing of a Schema Registry, in pages.

    glue.py PORT

Requests and answers are checked against AWS's own description of the service, which comes with botocore: an input or an
output that Glue does not have is a 400, which fails the test.

Exit status: 77 a package is missing, see tests/servers/python-venv.
"""

import http.server
import json
import sys

try:
    import botocore.loaders
    import botocore.model
    import botocore.validate
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

SERVICE = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("glue", "service-2"))
TIME = "2026-11-21T10:00:00Z"
ARN = "arn:aws:glue:eu-west-1:123456789012"
DEFINITION = json.dumps({"type": "record", "name": "R", "fields": [{"name": "id", "type": "long"}]})


def schema(name):
    return {
        "RegistryName": "events",
        "SchemaName": name,
        "SchemaArn": f"{ARN}:schema/events/{name}",
        "SchemaStatus": "AVAILABLE",
        "CreatedTime": TIME,
        "UpdatedTime": TIME,
    }


def page(key, items, token):
    """Two on each page."""
    start = int(token or 0)
    answer = {key: items[start : start + 2]}
    if start + 2 < len(items):
        answer["NextToken"] = str(start + 2)
    return answer


class NotFound(Exception):
    pass


def answer(operation, given):
    token = given.get("NextToken")
    if operation == "GetDatabases":
        return page("DatabaseList", [{"Name": name} for name in ("app", "empty", "web")], token)
    if operation == "GetTables":
        tables = {"app": ["a", "b", "c"], "web": ["access"]}.get(given["DatabaseName"], [])
        listed = [{"Name": name, "DatabaseName": given["DatabaseName"], "VersionId": "7"} for name in tables]
        return page("TableList", listed, token)
    if operation == "ListSchemas":
        if given["RegistryId"]["RegistryName"] != "events":
            raise NotFound("Registry is not found.")
        return page("Schemas", [schema(name) for name in ("orders", "clicks", "users", "Zebra", "events")], token)
    if operation == "GetSchemaVersion":
        name = given["SchemaId"]["SchemaName"]
        if name not in ("orders", "clicks", "pending"):
            raise NotFound("Schema is not found.")
        number = given["SchemaVersionNumber"].get("VersionNumber", 3)
        return {
            "SchemaVersionId": "a1b2c3d4-5678-90ab-cdef-1234567890ab",
            "SchemaDefinition": DEFINITION,
            "DataFormat": "AVRO",
            "SchemaArn": f"{ARN}:schema/events/{name}",
            "VersionNumber": number,
            "Status": "PENDING" if name == "pending" else "AVAILABLE",
            "CreatedTime": TIME,
        }
    raise NotFound(operation)


def check(shape, value):
    report = botocore.validate.ParamValidator().validate(value, shape)
    if report.has_errors():
        raise ValueError(report.generate_report())
    unknown = set(value) - set(shape.members)
    if unknown:
        raise ValueError(f"{shape.name} has no {unknown}")


class Glue(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["content-length"])))
        target, _, operation = self.headers["x-amz-target"].partition(".")
        try:
            if target != "AWSGlue" or not self.headers["authorization"].startswith("AWS4-HMAC-SHA256 "):
                raise ValueError("not a signed call of Glue")
            model = SERVICE.operation_model(operation)
            check(model.input_shape, given)
            said = answer(operation, given)
            check(model.output_shape, said)
            status = 200
        except NotFound as error:
            status, said = 400, {"__type": "EntityNotFoundException", "Message": str(error)}
        except Exception as error:
            status, said = 400, {"__type": "InvalidInputException", "Message": repr(error)}
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Glue).serve_forever()
