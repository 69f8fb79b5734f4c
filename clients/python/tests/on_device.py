"""A sign-in at the account's own server, without a Bowerbird server, by the Python binding.

Started by `cargo nextest run -p bowerbird --test real_python_kit`, which plays the browser as in `three_accounts.py`.
"""

import asyncio
import json
import os
import sys

from bowerbird import AccountKind, AccountManager, ClientError, OnDevice, Removal, Settings, Store, client_metadata

PLC, PDS, FOLDER = sys.argv[1], sys.argv[2], sys.argv[3]
LOCAL = [address.removeprefix("http://") for address in (PLC, PDS)]
APP = OnDevice(
    redirect="http://127.0.0.1:5000/callback",
    scope="atproto transition:generic",
    handle_resolver=PDS,
    plc_directory=PLC,
    local_servers=LOCAL,
)
SETTINGS = Settings(namespace="com.example.app", on_device=APP)
GET_SESSION = "com.atproto.server.getSession"


def tell(**line):
    print(json.dumps(line), flush=True)


def opened():
    store = Store.encrypted_file_with_key_file(os.path.join(FOLDER, "kit.bin"), os.path.join(FOLDER, "kit.key"))
    return AccountManager.open(SETTINGS, store)


async def browser(auth_url, handle):
    tell(open=auth_url, handle=handle)
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def whoami(client):
    answer = await client.query(GET_SESSION, [])
    assert answer.status == 200, answer
    return json.loads(answer.body)["did"]


async def main():
    manager = opened()
    try:
        await manager.begin_sign_in_on_device("nobody.test")
        raise AssertionError("nobody is there")
    except ClientError.OnDevice as error:
        assert error.code == "handle_not_found" and error.explanation, error
    try:
        await manager.begin_sign_in("alice.test")
        raise AssertionError("there is no server")
    except ClientError.Mistake:
        pass

    # The app is stopped while the person is in the browser.
    accounts = []
    for handle in ["alice.test", "bob.test"]:
        started = await manager.begin_sign_in_on_device(handle)
        callback = await browser(started.auth_url, handle)
        manager = opened()
        accounts.append(await manager.complete_sign_in_on_device(callback))
    alice, bob = accounts
    assert alice.kind == AccountKind.ON_DEVICE and alice.handle == "alice.test" and alice.pds == PDS, alice
    assert alice.session_ends_at - alice.added_at == 14 * 24 * 3600 * 1000, alice

    # Called, refreshed by twenty callers at once, and called again; the other account does not notice.
    client = manager.session_for(alice.id)
    assert await whoami(client) == alice.did
    await asyncio.gather(*[client.renew() for _ in range(20)])
    assert await whoami(client) == alice.did
    assert await whoami(await manager.activate(bob.id)) == bob.did
    record = {"$type": "app.bsky.feed.post", "text": "by the device", "createdAt": "2026-11-25T12:00:00.000Z"}
    body = json.dumps({"repo": alice.did, "collection": "app.bsky.feed.post", "record": record})
    created = await client.procedure("com.atproto.repo.createRecord", body)
    assert created.status == 200, created

    # Another start of the app, and the end.
    manager = opened()
    checked = await manager.session_for(alice.id).check()
    assert (checked.handle, checked.expires_at) == ("alice.test", alice.session_ends_at), checked
    assert await manager.remove_all() == [Removal.EVERYWHERE, Removal.EVERYWHERE]
    assert manager.accounts() == []

    published = OnDevice(client_id="https://app.example.com/client.json", redirect="com.example.app:/cb", scope="atproto")
    metadata = json.loads(client_metadata(published, "Example"))
    assert metadata["client_name"] == "Example" and metadata["application_type"] == "native", metadata
    tell(passed=True)


asyncio.run(main())
