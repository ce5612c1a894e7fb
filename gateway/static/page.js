// Refreshes the page's <main> every two seconds by fetching the page itself, so that the server renders it in one place only.
// A page that cannot be refreshed says so: an old number must not look like a new one. The dialogs stand beside <main>, so that a refresh
// does not take away what somebody is reading or writing.
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

  const byId = (id) => document.getElementById(id);
  const dialog = byId("decide"), form = dialog.querySelector("form"), wrong = dialog.querySelector("[role=alert]"), message = byId("message");

  const ask = (button) => {
    dialog.dataset.path = button.dataset.path;
    dialog.dataset.done = button.dataset.verb === "Release" ? "released" : "discarded";
    byId("decide-what").textContent = `${button.dataset.verb} ${button.dataset.what}`;
    byId("decide-note").textContent = button.dataset.note;
    form.querySelector("[type=submit]").textContent = button.dataset.verb;
    wrong.textContent = "";
    form.reset();
    dialog.showModal();
  };

  const decide = async () => {
    const answer = await fetch(dialog.dataset.path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "sm-request": "1" },
      body: JSON.stringify({ reason: form.elements.reason.value }),
      signal: AbortSignal.timeout(20000),
    });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    dialog.close();
    await refresh();
  };

  const fact = (name, value) => {
    const pair = document.createElement("div");
    for (const [tag, text] of [["dt", name], ["dd", value]]) pair.appendChild(document.createElement(tag)).textContent = text;
    return pair;
  };

  const show = async (path) => {
    const answer = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(20000) });
    const told = await answer.json();
    const place = told.position === 0 ? `in front of ${told.waiting - 1} that wait` : `${told.position} in front of it`;
    const facts = answer.ok ? {
      "Reason": `${told.reason}: ${told.detail}`, "Rule": told.rule, "Overridden so far": told.waived.join(", "), "From": told.principal,
      "Type": told.type, "Source": told.source, "Id": told.event_id, "Place": told.position === null ? "nothing waits for it" : place,
    } : { "Not shown": told.detail };
    byId("message-what").textContent = told.artifact ?? "No message";
    message.querySelector(".facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).map((pair) => fact(...pair)));
    message.querySelector("pre").textContent = !answer.ok ? "" : told.body_text ?? `not text; as base64:\n${told.body_base64}`;
    if (!message.open) message.showModal();
  };

  document.documentElement.classList.add("js");
  document.addEventListener("click", ({ target }) => {
    if (target.matches("button.decide")) ask(target);
    if (target.matches("button.show")) show(target.dataset.path).catch((error) => fresh(`not shown: ${error.message}`, true));
    if (target.matches("dialog [value=cancel]")) target.closest("dialog").close();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    decide().catch((error) => { wrong.textContent = `Not ${dialog.dataset.done}: ${error.message}`; });
  });
  relative();
  setInterval(refresh, every_ms);
  document.addEventListener("visibilitychange", refresh);
})();
