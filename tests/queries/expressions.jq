.id
.customer.id
.customer.name
.customer.address.city
.level
.status
.ratio
.ok
.missing
.customer.missing
.customer
.tags
.tags[0]
.tags[-1]
.tags[1:]
.tags[1:][0]
.tags | length
.tags | first
.tags | last
.tags | join(",")
.tags | join("-")
.tags | sort | first
.tags | unique | length
.tags | reverse | .[0]
.tags | min
.tags | max
.tags | index("b")
.tags | contains(["a"])
.tags | any(. == "a")
.tags | all(. != "z")
.tags | map(ascii_upcase) | join("")
.tags | add
.tags[]
.tags[]?
first(.tags[])
last(.tags[])
limit(1; .tags[])
.customer.id // "none"
.missing // "none"
.missing // .level
.level // "none"
.status // 0
.missing // empty
.customer["id"]
.["level"]
."level"
.customer | .id
.customer | keys | .[0]
.customer | keys | length
.customer | has("id")
.customer | has("nothing")
.customer | to_entries | .[0].key
.customer | type
.status | type
.ok | type
.tags | type
.missing | type
.level | type
.level | ascii_downcase
.level | ascii_upcase
.level | length
.level | .[0:2]
.level | .[1:]
.level | .[-1:]
.level | startswith("w")
.level | endswith("n")
.level | ltrimstr("w")
.level | rtrimstr("n")
.level | explode | .[0]
.level | explode | implode
.level + "-" + .id
.level + "-" + (.status | tostring)
"\(.level)-\(.status)"
"\(.level)/\(.id)"
"x" + .level
.status + 1
.status - 1
.status * 2
.status / 100 | floor
.status % 100
.status | . / 100 | floor
.status | tostring
.status | tostring | .[0:1]
.status | tostring | length
.status >= 500
.status < 500
.status == 200
.status != 200
.status == 200 and .ok
.status == 200 or .ok
.ok | not
if .status >= 500 then "error" else "fine" end
if .status >= 500 then "error" elif .status >= 400 then "client" else "fine" end
if .ok then .level else .id end
if .missing then "yes" else "no" end
if .missing == null then "none" else "some" end
.ratio | floor
.ratio | ceil
.ratio | round
.ratio | sqrt | floor
.ratio * 2
.ratio + 0.5
-.status
.status | fabs
.path | split("/") | .[1]
.path | split("/") | .[2]
.path | split("/") | length
.path | split("/") | last
.path | split("/")[1:3] | join("_")
.path | test("^/api")
.path | test("^/nothing")
.path | test("API"; "i")
.path | sub("/"; "")
.path | gsub("/"; "_")
.path | sub("^/(?<first>[^/]*).*$"; "\(.first)")
.path | match("[0-9]+").string
.path | capture("/(?<first>[a-z]+)").first
.path | [scan("[a-z]+")] | length
.path | [scan("[a-z]+")] | .[0]
.path | ascii_upcase
.path | @uri
.path | @base64
.path | @json
.path | @text
.level | @base64
.level | @uri
.level | @html
.level | @sh
.time
.time | .[0:10]
.time | .[0:4]
.time | split("T")[0]
.time | split("T") | .[1] | .[0:2]
.time | .[11:13] | tonumber
.time | fromdateiso8601
.time | fromdate | . % 86400
.epoch | todate
.epoch | todateiso8601 | .[0:10]
.epoch | strftime("%Y")
.epoch | strftime("%Y-%m-%d")
.epoch | strftime("%H")
.epoch | gmtime | .[0]
.epoch | gmtime | mktime
.time | strptime("%Y-%m-%dT%H:%M:%SZ") | mktime
.number_text | tonumber
.number_text | tonumber + 1
.number_text | length
.nested[0].a
.nested[1].a
.nested[-1].b
.nested | map(.a) | add
.nested | map(select(.a > 1)) | length
.nested | map(select(.a > 1)) | .[0].b
.nested[] | select(.a == 1) | .b
[.nested[].b] | join("+")
.nested | length
.nested | map(.b) | sort | .[0]
.nested | sort_by(.a) | .[0].b
.nested | group_by(.b) | length
.nested | max_by(.a).b
.nested | min_by(.a).b
.nested | unique_by(.b) | length
reduce .nested[] as $n (0; . + $n.a)
reduce .tags[] as $t (""; . + $t)
[foreach .nested[] as $n (0; . + $n.a)] | last
. as $r | $r.level
. as {level: $l} | $l
. as {tags: [$first]} | $first
.status as $s | $s + 1
[.level, .id] | join(":")
[.level, .status] | map(tostring) | join(":")
{a: .level} | .a
{level} | .level
{(.level): 1} | keys | .[0]
{a: 1, b: 2} | length
{a: 1} + {b: 2} | keys | join(",")
{a: {b: 1}} * {a: {c: 2}} | .a | keys | join(",")
def f: .level; f
def f(x): x + "!"; f(.level)
def f($x): $x + 1; f(.status)
try .level.nothing catch "no"
try error("x") catch .
.level?
.level.nothing?
(.level.nothing)? // "other"
[.[] | strings] | length
[.[] | numbers] | length
[paths] | length > 0
[leaf_paths] | length > 0
path(.customer.id) | join(".")
getpath(["customer", "id"])
getpath(["missing", "id"])
to_entries | length
to_entries | map(.key) | sort | .[0]
with_entries(select(.key == "level")) | .level
del(.level) | has("level")
map_values(1) | .level
keys | length
keys | .[0]
keys_unsorted | .[0]
length
has("level")
type
[range(3)] | join("")
[range(1; 4)] | add
[limit(3; repeat(1))] | length
[.level | recurse(if length > 1 then .[1:] else empty end)] | length
[.. | numbers] | length > 1
[splits("x")?] | length
.level | ascii
.level | [match("[a-z]"; "g").string] | join("")
.level | tojson
.customer | tojson
.customer_text | fromjson | .x
.customer_text | fromjson.x
.tags | tojson
.tags | @csv
.tags | @tsv
.unicode
.unicode | length
.unicode | utf8bytelength
.unicode | ascii_downcase
.unicode | explode | length
.unicode | .[0:1]
.unicode | @uri
.empty
.empty | length
.blank
.blank | ltrimstr(" ")
.zero
.zero // "none"
.negative
.negative | -.
.big
.escaped
.escaped | split("\n") | .[0]
isvalid(.level)
.status | in([1, 2])
.tags | inside(["a", "b", "c", "d"])
.level | inside("a warning")
.status | infinite > .
.status | isnan
.level | IN("warn", "error")
.tags | flatten | length
[[1, [2]], 3] | flatten | length
.tags | to_entries | .[0].key
.tags | combinations? // "none"
.tags | indices("a") | length
.tags | transpose? // "none"
input_line_number? // "none"
$__loc__ | .line
.status | splits("a")?
.level | test("")
.tags | nth(1)
nth(1; .tags[])
until(. > 100; . + 50)? // "none"
.status | until(. > 1000; . * 2)
[.status | while(. < 2000; . * 2)] | length
.level | ascii_downcase | if . == "warn" then 1 else 2 end
