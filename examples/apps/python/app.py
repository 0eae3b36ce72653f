"""A ship's logbook: a small web service that tells what it is made of."""

import json
import platform
import sqlite3
import ssl
import threading
import time

from bottle import Bottle, HTTPError, request, response

MAX_ENTRY = 500

app = Bottle()
book = sqlite3.connect(":memory:", check_same_thread=False)
book.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, at TEXT NOT NULL, text TEXT NOT NULL)")
writing = threading.Lock()


@app.get("/")
def about():
    response.content_type = "text/plain; charset=utf-8"
    return (
        f"logbook on Python {platform.python_version()}\n"
        f"{ssl.OPENSSL_VERSION}\n"
        f"SQLite {sqlite3.sqlite_version}\n"
    )


@app.get("/healthz")
def healthz():
    book.execute("SELECT 1")
    return "ok\n"


@app.get("/entries")
def entries():
    rows = book.execute("SELECT id, at, text FROM entry ORDER BY id DESC LIMIT 100")
    response.content_type = "application/json"
    return json.dumps([{"id": i, "at": at, "text": text} for i, at, text in rows])


@app.post("/entries")
def write():
    text = request.body.read(4 * MAX_ENTRY).decode("utf-8", "replace").strip()
    if not 0 < len(text) <= MAX_ENTRY:
        raise HTTPError(400, f"an entry has 1 to {MAX_ENTRY} characters")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with writing, book:
        row = book.execute("INSERT INTO entry (at, text) VALUES (?, ?)", (at, text))
    response.status = 201
    return {"id": row.lastrowid, "at": at}
