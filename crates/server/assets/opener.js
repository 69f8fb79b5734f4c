"use strict";
(() => {
  const { origin, success, did, handle, error } = document.querySelector("main [data-origin]").dataset;
  const result = { type: "oauth-callback", success: success === "true", timestamp: Date.now() };
  if (result.success) Object.assign(result, { did, handle });
  else result.error = error;
  if (origin === location.origin) {
    try {
      localStorage.setItem("pwa-oauth-result", JSON.stringify(result));
    } catch {
      // Without storage, the message is what is left.
    }
  }
  if (window.opener) window.opener.postMessage(result, origin);
  // A failure that no page can show stays here to be read: some servers' pages cut a window off from the one that opened it.
  const isTold = window.opener || origin === location.origin;
  if (result.success || isTold) setTimeout(() => window.close(), 1500);
})();
