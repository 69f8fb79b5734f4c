"use strict";
(() => {
  const form = document.querySelector("form[data-start]");
  const problem = document.getElementById("problem");
  const button = form.querySelector("button");
  const label = button.querySelector("span");
  const idle = label.textContent;

  const base64url = (bytes) =>
    btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const say = (text) => {
    problem.querySelector("p").textContent = text;
    problem.hidden = text === "";
    form.elements.handle.setAttribute("aria-invalid", String(text !== ""));
  };

  const busy = (is) => {
    button.disabled = is;
    button.classList.toggle("busy", is);
    button.setAttribute("aria-busy", String(is));
    label.textContent = is ? "Signing in..." : idle;
  };

  // An app that has a verifier of its own passed the challenge in; one of the older contract leaves it to this page.
  const ownChallenge = async () => {
    const verifier = base64url(crypto.getRandomValues(new Uint8Array(96)));
    sessionStorage.setItem("pkce_code_verifier", verifier);
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    return base64url(new Uint8Array(digest));
  };

  const start = async () => {
    const wish = { handle: form.elements.handle.value.trim() };
    for (const name of ["code_challenge", "code_challenge_method", "redirect_uri", "prompt"]) {
      if (form.elements[name]) wish[name] = form.elements[name].value;
    }
    wish.code_challenge ??= await ownChallenge();
    const answer = await fetch(form.dataset.start, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(wish),
    });
    return answer.json();
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say("");
    if (form.elements.handle.value.trim() === "") {
      say("Please enter your Bluesky handle");
      form.elements.handle.focus();
      return;
    }
    busy(true);
    let begun;
    try {
      begun = await start();
    } catch {
      begun = { success: false, message: "There is no connection to the server. Please try again" };
    }
    if (begun.success) {
      location.assign(begun.authUrl);
      return;
    }
    busy(false);
    const reason = begun.message ? ` ${begun.message}.` : "";
    say(`Login failed. Please check your handle and try again.${reason}`);
    form.elements.handle.focus();
  });

  // Back from the account's server, out of the browser's memory.
  addEventListener("pageshow", () => busy(false));
})();
