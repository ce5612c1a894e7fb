// Refreshes the page's <main> every two seconds by fetching the page itself, so that the server renders it in one place only.
// A page that cannot be refreshed says so: an old number must not look like a new one. The dialog that releases a hold stands beside
// <main>, so that a refresh does not take away what somebody is writing.
"use strict";
(() => {
  const every_ms = 2000, stale_ms = 10000;
  let last = Date.now();

  const ago = (seconds) => {
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
    }
    return `${Math.max(0, Math.floor(seconds))} s`;
  };

  const relative = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
      if (!Number.isNaN(seconds)) time.textContent = seconds >= 0 ? `${ago(seconds)} ago` : `in ${ago(-seconds)}`;
      time.title = time.dateTime;
    }
  };

  const fresh = (text, stale) => {
    const place = document.getElementById("fresh");
    place.textContent = text;
    place.classList.toggle("stale", stale);
  };

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/", { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(5000) });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("live").replaceWith(page.getElementById("live"));
      document.title = page.title;
      last = Date.now();
      fresh("live", false);
    } catch {
      const age_ms = Date.now() - last;
      fresh(`no answer for ${ago(age_ms / 1000)}; what is shown is old`, age_ms > stale_ms);
    }
    relative();
  };

  const dialog = document.getElementById("release"), form = dialog.querySelector("form"), wrong = dialog.querySelector("[role=alert]");

  const ask = (button) => {
    dialog.dataset.hold = button.dataset.hold;
    document.getElementById("release-what").textContent = button.dataset.what;
    wrong.textContent = "";
    form.reset();
    dialog.showModal();
  };

  const release = async () => {
    const answer = await fetch(`/v1/holds/${encodeURIComponent(dialog.dataset.hold)}/release`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "sm-request": "1" },
      body: JSON.stringify({ reason: form.elements.reason.value }),
      signal: AbortSignal.timeout(20000),
    });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    dialog.close();
    await refresh();
  };

  document.documentElement.classList.add("js");
  document.addEventListener("click", (event) => event.target.matches("button.release") && ask(event.target));
  dialog.querySelector("[value=cancel]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    release().catch((error) => { wrong.textContent = `Not released: ${error.message}`; });
  });
  relative();
  setInterval(refresh, every_ms);
  document.addEventListener("visibilitychange", refresh);
})();
