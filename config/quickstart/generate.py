#!/usr/bin/env python3
"""Writes the access log of the quickstart: one day of an invented shop, in nginx's combined format.

    python3 config/quickstart/generate.py > config/quickstart/access.log

The same bytes each time. Addresses and names are those reserved for documentation (RFC 5737, RFC 3849, RFC 2606), so
nobody real is in it. A few lines in a hundred are as odd as in a real log: IPv6 clients, user names, quotes escaped by
nginx, UTF-8 in paths (percent-encoded, escaped, and raw), very long user agents, scanners, requests that are not HTTP.
"""

import math
import random
import sys
from datetime import datetime, timedelta, timezone

LINES = 5000
DAY = datetime(2026, 10, 7, tzinfo=timezone.utc)

BROWSERS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
]
ROBOTS = [
    "ExampleBot/2.1 (+https://bot.example.net/about)",
    "uptime-check/1.4 (https://status.example.org)",
    "curl/8.16.0",
    "python-requests/2.32.5",
]
PRODUCTS = ["kettle", "teapot", "mug", "tea-strainer", "oolong", "sencha", "assam", "honey", "gift-box", "tea-light"]
ASSETS = ["css/site.css", "js/app.js", "js/vendor.js", "img/logo.svg", "img/hero.webp", "fonts/inter.woff2", "favicon.ico"]
ODD_REQUESTS = [
    ('GET /search?q=gr%C3%BCner+tee HTTP/1.1', 200),
    ('GET /search?q=%E3%81%8A%E8%8C%B6 HTTP/2.0', 200),
    ('GET /caf\\xC3\\xA9/menu HTTP/1.1', 404),
    ('GET /café/menü HTTP/1.1', 404),
    ('GET /お茶/抹茶 HTTP/1.1', 404),
    ('GET /search?q=\\x22earl grey\\x22 HTTP/1.1', 400),
    ('GET /wp-login.php HTTP/1.1', 404),
    ('GET /.env HTTP/1.1', 404),
    ('POST /cgi-bin/.%2e/.%2e/.%2e/bin/sh HTTP/1.1', 400),
    ('\\x16\\x03\\x01\\x00\\xEE\\x01\\x00\\x00\\xEA\\x03\\x03', 400),
    ('', 400),
    ('PRI * HTTP/2.0', 400),
    ('OPTIONS * HTTP/1.0', 200),
]

random_numbers = random.Random(20261007)


def number(below):
    """Only `random()` itself gives the same numbers in every version of Python."""
    return int(random_numbers.random() * below)


def choice(items):
    return items[number(len(items))]


def chance(of):
    return random_numbers.random() < of


def client():
    if chance(0.12):
        return f"2001:db8:{number(64):x}:{number(16):x}::{number(65535) + 1:x}"
    return f"{choice(['192.0.2', '198.51.100', '203.0.113'])}.{number(254) + 1}"


def page():
    if chance(0.15):
        return "/"
    if chance(0.2):
        return f"/search?q={choice(PRODUCTS)}&page={number(5) + 1}"
    if chance(0.3):
        return f"/api/v1/products/{number(900) + 100}"
    return f"/products/{choice(PRODUCTS)}-{number(90) + 10}"


def user_agent():
    if chance(0.01):
        extensions = " ".join(f"ExampleToolbar/{i}.{number(10)}" for i in range(40 + number(60)))
        return f"{choice(BROWSERS)} {extensions}"
    if chance(0.01):
        return "Mozilla/5.0 (\\x22quoted\\x22; it's a \\x5C backslash) Gecko/20100101"
    return choice(ROBOTS) if chance(0.15) else choice(BROWSERS)


def request():
    """Request line, status, bytes sent, referrer."""
    if chance(0.02):
        line, status = choice(ODD_REQUESTS)
        return line, status, 150 + number(400), "-"
    protocol = choice(["HTTP/1.1", "HTTP/2.0", "HTTP/2.0", "HTTP/3.0"])
    if chance(0.45):
        status = 304 if chance(0.4) else 200
        size = 0 if status == 304 else 900 + number(180_000)
        return f"GET /assets/{choice(ASSETS)} {protocol}", status, size, f"https://shop.example.com{page()}"
    if chance(0.08):
        order = f"POST /api/v1/orders {protocol}"
        return order, choice([201, 201, 201, 201, 422, 503]), 80 + number(600), "https://shop.example.com/cart"
    status = choice([200] * 40 + [301, 302, 404, 404, 499, 500, 502])
    referrer = choice(["-", "https://shop.example.com/", "https://search.example.net/?q=tea", "https://blog.example.org/2026/10/"])
    return f"GET {page()} {protocol}", status, 400 + number(30_000), referrer


def instants():
    """More by day than by night; in order, as nginx writes them."""
    seconds = []
    while len(seconds) < LINES:
        second = number(86_400)
        if chance(0.25 + 0.75 * math.sin(math.pi * second / 86_400) ** 2):
            seconds.append(second)
    return [DAY + timedelta(seconds=second) for second in sorted(seconds)]


def main():
    out = sys.stdout.buffer
    for instant in instants():
        line, status, size, referrer = request()
        user = choice(["ana", "li.wei", "o'brien"]) if chance(0.03) else "-"
        time = instant.strftime("%d/%b/%Y:%H:%M:%S +0000")
        record = f'{client()} - {user} [{time}] "{line}" {status} {size} "{referrer}" "{user_agent()}"\n'
        out.write(record.encode())


main()
