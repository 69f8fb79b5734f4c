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
  setTimeout(() => window.close(), 1500);
})();
