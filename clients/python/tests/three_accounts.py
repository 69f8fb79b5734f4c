"""Three accounts on two servers, by the Python binding, against a running Bowerbird.

Started by `cargo nextest run -p bowerbird --test real_python_kit`, which plays the browser: a line {"open": ...} on the
standard output asks it to open an address as a person, and the address that comes back to the app arrives on the standard input.
"""

import asyncio
import json
import os
import shutil
import sys
import urllib.error
import urllib.request

from bowerbird import (
    AccountManager,
    ClientError,
    DeviceResponse,
    DeviceStore,
    DeviceStoreError,
    DeviceTransport,
    Header,
    Parameter,
    Removal,
    Settings,
    Store,
)

SERVER, FOLDER = sys.argv[1], sys.argv[2]
REDIRECT = "app://auth-callback"
SETTINGS = Settings(server=SERVER, redirect=REDIRECT, namespace="com.example.app")
GET_SESSION = "com.atproto.server.getSession"


def tell(**line):
    print(json.dumps(line), flush=True)


def file_store():
    return Store.encrypted_file_with_key_file(os.path.join(FOLDER, "kit.bin"), os.path.join(FOLDER, "kit.key"))


async def browser(auth_url, handle):
    """The person signs in; gives back the address that the browser opens in the app."""
    tell(open=auth_url, handle=handle)
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def sign_in(manager, handle):
    started = await manager.begin_sign_in(handle)
    assert started.handle == handle, started
    return await manager.complete_sign_in(await browser(started.auth_url, handle))


async def whoami(client):
    answer = await client.query(GET_SESSION, [])
    assert answer.status == 200, answer
    assert answer.content_type.startswith("application/json"), answer
    return json.loads(answer.body)["did"]


async def fails(awaitable, kind):
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind}")


async def main():
    manager = AccountManager.open(SETTINGS, file_store())
    assert manager.accounts() == [] and manager.active() is None

    # A handle that nobody has, and links that are no end of a sign-in of ours.
    refused = await fails(manager.begin_sign_in("nobody.test"), ClientError.Refused)
    assert refused.status == 400 and refused.explanation, refused
    for link, code in [
        (f"{REDIRECT}?session_token=Fe26.2*x&did=did:plc:x&handle=eve.test", "token_in_url"),
        ("other://auth-callback?code=x", "not_ours"),
    ]:
        error = await fails(manager.complete_sign_in(link), ClientError.Callback)
        assert error.code == code, error
    await manager.cancel_sign_in()
    error = await fails(manager.complete_sign_in(f"{REDIRECT}?code=x"), ClientError.Callback)
    assert error.code == "not_started", error

    # Add.
    alice, bob, dan = [await sign_in(manager, handle) for handle in ["alice.test", "bob.test", "dan.two.test"]]
    assert len({account.id for account in (alice, bob, dan)}) == 3
    assert alice.pds == bob.pds != dan.pds, (alice.pds, bob.pds, dan.pds)
    assert manager.active().id == alice.id
    assert manager.find("@Bob.test").id == bob.id and manager.find(dan.did).id == dan.id
    assert manager.contains(bob.id) and not manager.contains("c0ffee00-0000-4000-8000-000000000001")

    # Side by side, each with its own seal.
    clients = [manager.session_for(account.id) for account in (alice, bob, dan)]
    told = await asyncio.gather(*[whoami(client) for client in clients for _ in range(4)])
    assert told == [account.did for account in (alice, bob, dan) for _ in range(4)], told

    # Switch: no sign-in, one live client, and a post as the one who is active.
    client = await manager.activate(dan.id)
    assert manager.active().id == dan.id
    assert await whoami(client) == dan.did
    assert manager.live() == [dan.id], manager.live()
    record = {"$type": "app.bsky.feed.post", "text": "from Python", "createdAt": "2026-11-25T12:00:00.000Z"}
    body = json.dumps({"repo": dan.did, "collection": "app.bsky.feed.post", "record": record})
    created = await client.procedure("com.atproto.repo.createRecord", body)
    assert created.status == 200, created
    uri = json.loads(created.body)["uri"]
    found = await client.query("com.atproto.repo.listRecords", [
        Parameter(name="repo", value=dan.did),
        Parameter(name="collection", value="app.bsky.feed.post"),
    ])
    assert [row["uri"] for row in json.loads(found.body)["records"]] == [uri], found
    checked = await client.check()
    assert checked.handle == "dan.two.test" and checked.expires_at > 1_700_000_000_000, checked

    # What the account's own server answers is the answer; what is no method name never leaves.
    missing = await client.query("com.atproto.repo.getRecord", [Parameter(name="repo", value=dan.did)])
    assert missing.status == 400, missing
    await fails(client.query("../api/auth/logout", []), ClientError.Mistake)

    # Refresh: by many at once, by one that is cancelled half-way, and the old seal goes on for nobody else.
    await asyncio.gather(*[manager.session_for(account.id).renew() for account in (alice, bob, dan) for _ in range(5)])
    for patience in (0, 0.001, 0.005, 0.02):
        renewal = asyncio.ensure_future(manager.session_for(alice.id).renew())
        await asyncio.sleep(patience)
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        assert await whoami(manager.session_for(alice.id)) == alice.did
    assert await manager.renew_due() == [], "nothing is due"

    # The app is started again.
    del clients, client
    manager = AccountManager.open(SETTINGS, file_store())
    assert [account.id for account in manager.accounts()] == [alice.id, bob.id, dan.id]
    assert manager.active().id == dan.id and manager.live() == []
    told = await asyncio.gather(*[whoami(manager.session_for(account.id)) for account in (alice, bob, dan)])
    assert told == [alice.did, bob.did, dan.did], told
    with open(os.path.join(FOLDER, "kit.bin"), "rb") as file:
        assert b"Fe26" not in file.read(), "a seal in clear"

    # Signing in again keeps the id.
    again = await sign_in(manager, "alice.test")
    assert again.id == alice.id and len(manager.accounts()) == 3

    # Remove one; the others stay.
    orphan = manager.session_for(bob.id)
    assert await manager.remove(bob.id) == Removal.EVERYWHERE
    assert not manager.contains(bob.id)
    await fails(orphan.query(GET_SESSION, []), ClientError.UnknownAccount)
    assert await whoami(manager.session_for(alice.id)) == alice.did
    tell(removed="bob.test")
    assert (await asyncio.to_thread(sys.stdin.readline)).strip() == "seen"

    # Signed out elsewhere, here by a copy of the device: the server refuses, and the account asks for its person.
    shutil.copy(os.path.join(FOLDER, "kit.bin"), os.path.join(FOLDER, "copy.bin"))
    copy = Store.encrypted_file_with_key_file(os.path.join(FOLDER, "copy.bin"), os.path.join(FOLDER, "kit.key"))
    assert await AccountManager.open(SETTINGS, copy).remove(dan.id) == Removal.EVERYWHERE
    error = await fails(whoami(manager.session_for(dan.id)), ClientError.SignInRequired)
    assert error.account == dan.id, error
    assert manager.find("dan.two.test").needs_sign_in == error.reason, error
    assert await whoami(manager.session_for(alice.id)) == alice.did, "that is nobody else's end"

    await manager.remove_all()
    assert manager.accounts() == [] and AccountManager.open(SETTINGS, file_store()).accounts() == []
    await foreign_ports()
    tell(passed=True)


class Drawer(DeviceStore):
    """A store of the app's own."""

    def __init__(self):
        self.kept, self.locked = {}, False

    def load(self, name):
        if self.locked:
            raise DeviceStoreError.Locked()
        return self.kept.get(name)

    def save(self, name, secret):
        self.kept[name] = secret

    def delete(self, name):
        self.kept.pop(name, None)


class Urllib(DeviceTransport):
    """A transport of the app's own."""

    def send(self, request):
        headers = {header.name: header.value for header in request.headers}
        sent = urllib.request.Request(request.url, request.body or None, headers, method=request.method)
        try:
            answer = urllib.request.urlopen(sent, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        headers = [Header(name=name.lower(), value=value) for name, value in answer.headers.items()]
        return DeviceResponse(status=answer.status, headers=headers, body=answer.read())


async def foreign_ports():
    drawer = Drawer()
    manager = AccountManager.open_with_transport(SETTINGS, Store.custom(drawer), Urllib())
    refused = await fails(manager.begin_sign_in("nobody.test"), ClientError.Refused)
    assert refused.status == 400, refused
    carla = await sign_in(manager, "bob.test")
    assert await whoami(manager.session_for(carla.id)) == carla.did
    account = f"com.example.app.account.{carla.id}"
    expected = {f"{account}.profile", f"{account}.session", "com.example.app.accounts.0", "com.example.app.active"}
    assert set(drawer.kept) == expected, drawer.kept.keys()
    drawer.locked = True
    try:
        AccountManager.open(SETTINGS, Store.custom(drawer))
    except ClientError.Store as error:
        assert "locked" in error.detail, error
    else:
        raise AssertionError("a locked store was opened")
    drawer.locked = False
    assert await manager.remove(carla.id) == Removal.EVERYWHERE
    assert not [name for name in drawer.kept if "account." in name], drawer.kept.keys()


asyncio.run(main())
