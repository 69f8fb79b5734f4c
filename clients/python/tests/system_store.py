"""One step with the system's own store, in a process of its own: sign-in, restart, remove, empty."""

import asyncio
import json
import sys

from bowerbird import AccountManager, DeviceResponse, DeviceTransport, Header, Removal, Settings, Store

DID = "did:plc:z72i7hdynmk6r22z27h6tvur"


class Server(DeviceTransport):
    """As much of a server as a sign-in needs."""

    def send(self, request):
        path = request.url.removeprefix("https://auth.test")
        if path == "/api/auth/start":
            body = {"authUrl": "https://as.test/authorize", "handle": "alice.test"}
        elif path == "/api/auth/tokens":
            body = {"accessToken": "canary-seal", "refreshToken": "r", "handle": "alice.test", "did": DID, "pds": "https://p.test", "expiresIn": 3600}
        else:
            bearers = [header.value for header in request.headers if header.name == "authorization"]
            assert bearers == ["Bearer canary-seal"], "another seal"
            body = {"did": DID}
        headers = [Header(name="content-type", value="application/json")]
        return DeviceResponse(status=200, headers=headers, body=json.dumps(body).encode())


async def main(step):
    settings = Settings(server="https://auth.test", redirect="app://auth-callback", namespace="com.example.app")
    manager = AccountManager.open_with_transport(settings, Store.system("Bowerbird's tests"), Server())
    if step == "sign-in":
        assert manager.accounts() == [], "a new keyring"
        await manager.begin_sign_in("alice.test")
        account = await manager.complete_sign_in("app://auth-callback?code=x")
        assert account.did == DID
    elif step == "restart":
        account = manager.active()
        assert account.handle == "alice.test", account
        answer = await manager.session_for(account.id).query("com.atproto.server.getSession", [])
        assert json.loads(answer.body)["did"] == DID, answer
    elif step == "remove":
        assert await manager.remove(manager.active().id) == Removal.EVERYWHERE
    else:
        assert manager.accounts() == [] and manager.active() is None
    print("passed")


asyncio.run(main(sys.argv[1]))
