(() => {
  "use strict";
  const byId = (id) => document.getElementById(id), csrf = document.querySelector("meta[name=csrf]").content;
  const drop = byId("drop"), status = byId("status"), results = byId("results"), refused = byId("refused"), mpp = byId("mpp");
  const pause = (seconds) => new Promise((go) => setTimeout(go, 1000 * seconds));

  async function ask(path, options) {
    const answer = await fetch(path, { headers: { "X-CSRF": csrf }, ...options });
    const html = (answer.headers.get("content-type") || "").startsWith("text/html");
    if (answer.status === 401) throw new Error("The page was started again: open the address that bchisto serve printed.");
    // a proxy answered, as with a page to log in; only that a file is too large for it is an answer
    if (answer.redirected || (html && answer.status !== 413 && !path.startsWith("results"))) throw new Error("not the page");
    return answer;
  }
  async function reason(answer) {
    const text = await answer.text();
    try { return JSON.parse(text).detail; } catch { return !text || text.startsWith("<") ? "status " + answer.status + " of a proxy" : text; }
  }
  const trouble = (error) => error.message.startsWith("The page") ? error.message : "The page does not answer: is bchisto serve still running, and its proxy logged in?";

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-path]");
    if (!button || (button.dataset.confirm && !window.confirm(button.dataset.confirm))) return;
    const chosen = button.dataset.with ? label.selectedOptions[0] : null;
    if (chosen && chosen.disabled) {
      status.textContent = "Choose your label first.";
      label.focus();
      return;
    }
    const path = button.dataset.path + (chosen ? encodeURIComponent(chosen.value) : "");
    const goal = chosen ? "Replace it by " + chosen.text + "?" : button.textContent + "?";
    try {
      let answer, agreed = true;
      for (let { seen } = button.closest("[data-seen]").dataset; agreed;) {
        answer = await ask(path + (seen ? (path.includes("?") ? "&" : "?") + "seen=" + seen : ""), { method: button.dataset.method });
        seen = answer.headers.get("x-seen"); // somebody has given a label meanwhile
        if (!seen) break;
        agreed = window.confirm(await reason(answer) + ". " + goal);
      }
      if (agreed && !answer.ok) status.textContent = await reason(answer);
      else if (results) await show();
      else if (agreed && button.dataset.then) location.href = button.dataset.then;
      else location.reload(); // an address with a fragment would only scroll
    } catch (error) { status.textContent = trouble(error); }
  });
  const label = byId("label");
  if (label) {
    // a key is the digit of a class, as of "grade 2", if digits tell classes apart, or else the place of the class
    const given = [...label.options].filter((option) => !option.disabled), none = given.pop();
    let keys = given.map((option) => option.value.replace(/[^0-9]/g, ""));
    const digits = keys.filter(Boolean);
    if (!digits.length || new Set(digits).size < digits.length) keys = given.map((_, at) => String(at + 1));
    given.push(none);
    keys.push(keys.includes("0") ? "" : "0");
    const told = given.map((option, at) => keys[at] + " = " + option.text).filter((_, at) => keys[at].length === 1);
    byId("keys").textContent = "Keys: " + told.join(", ");
    const tell = () => { status.textContent = "Chosen, not stored yet: " + label.selectedOptions[0].text; };
    label.addEventListener("change", tell);
    document.addEventListener("keydown", (event) => {
      const at = keys.indexOf(event.key), elsewhere = event.target !== label && event.target.matches("input, select");
      if (at < 0 || elsewhere || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      given[at].selected = true;
      tell();
      byId("review").focus();
    });
    window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }); // back to an older state
  }
  document.querySelectorAll("figure img[src]").forEach((image) => image.decode().catch(async () => {
    const answer = await ask(image.getAttribute("src"));
    if (!answer.ok) image.alt = await reason(answer);
  }));
  const form = byId("mapped");
  if (form) form.addEventListener("submit", () => { status.textContent = "Drawing the heat map."; });
  function labelRound() {
    const shown = byId("shown"), picture = shown.firstElementChild, buttons = byId("classes"), begin = byId("begin");
    const remembered = JSON.parse(sessionStorage.getItem("given") || "[]"); // [image, answer] of this tab, the last one at the end
    let round = null, image = null, busy = true, visible = false, broken = false, turns = 0, fault = "";
    const store = () => sessionStorage.setItem("given", JSON.stringify(remembered));
    const inWords = (answer) => answer === "?" ? "cannot be told" : answer.slice(1);
    const now = (name) => round.images.find((other) => other.image_id === name);
    function tell() {
      const answered = round.images.filter((other) => other.answer).length;
      byId("progress").textContent = answered + " of " + round.images.length + " of round " + round.number + ", " + round.labels + (round.labels === 1 ? " label" : " labels") + " in all";
      byId("doing").textContent = round.doing ? "Now: " + round.doing + "." : round.trouble;
      if (round.figures) byId("figures").textContent = round.figures;
    }
    function take(answer) {
      if (!answer.images) throw new Error("The page says: " + answer.detail);
      round = answer;
      tell();
    }
    function fail(error) { status.textContent = fault = trouble(error); }
    function mend() { // what the page says is gone with its cause
      if (status.textContent === fault) status.textContent = "";
    }
    async function turn(name) { // show an image: the given one, or the first without an answer
      image = now(name) || round.images.find((other) => !other.answer) || null;
      visible = broken = false;
      buttons.replaceChildren(...round.classes.map((text, at) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = (at < 9 ? at + 1 + " = " : "") + text;
        button.addEventListener("click", () => answer("=" + text));
        return button;
      }));
      for (const part of [buttons, shown, byId("cannot"), byId("zoom")]) part.hidden = !image;
      byId("suggest").hidden = !image || !image.suggestion;
      byId("suggestion").textContent = "";
      byId("name").textContent = image ? image.image_id : "";
      byId("undo").hidden = !round.images.some((other) => other.answer);
      begin.hidden = Boolean(image);
      begin.textContent = "Enter = next round, after training on these labels";
      if (!image) {
        picture.removeAttribute("src");
        status.textContent = ("Round " + round.number + " is complete. " + round.notes).trim();
        begin.focus();
        return;
      }
      const asked = image;
      let failed = null;
      picture.src = "api/labels/picture.jpg?" + new URLSearchParams({ image_id: image.image_id });
      await picture.decode().catch(async () => {
        failed = await ask(picture.getAttribute("src"));
        status.textContent = (failed.ok ? image.image_id + ": cannot be shown" : await reason(failed)) + " (0 = it cannot be told).";
      });
      if (image !== asked) return;
      visible = !failed; // nobody answers for what is not there
      broken = Boolean(failed);
    }
    async function work(task) { // one request at a time
      if (busy) return;
      busy = true;
      turns += 1; // what was asked before is older than what this does
      try { await task(); } catch (error) { fail(error); }
      busy = false;
    }
    async function put(target, given, seen) {
      for (;;) {
        const query = new URLSearchParams({ image_id: target.image_id, answer: given, seen });
        const reply = await ask("api/labels?" + query, { method: "PUT" });
        if (reply.ok) {
          take(await reply.json());
          return true;
        }
        let text = await reason(reply);
        const other = reply.headers.get("x-seen");
        if (other !== null) text = target.image_id + ": somebody has answered meanwhile, " + (inWords(decodeURIComponent(other)) || "and it has no label now");
        const goal = given ? "Replace that by: " + inWords(given) + "?" : "Take that back?";
        if (other === null || !window.confirm(text + ". " + goal)) {
          status.textContent = text + ".";
          take(await (await ask("api/labels")).json());
          return false;
        }
        seen = decodeURIComponent(other);
      }
    }
    const answer = (given) => work(async () => {
      if (!image || !(visible || (broken && given === "?"))) return;
      const target = image;
      if (await put(target, given, target.answer)) {
        remembered.push([target.image_id, given]);
        store();
        status.textContent = "Stored: " + inWords(given) + ".";
      }
      await turn();
    });
    const undo = () => work(async () => {
      const [name, given] = remembered.filter(([other]) => (now(other) || {}).answer).pop() || [];
      const target = now(name) || round.images.filter((other) => other.answer).pop();
      if (!target) return;
      const text = inWords(given || target.answer);
      if (!name && !window.confirm("You have answered nothing in this tab. Take back, of " + target.image_id + ": " + text + "?")) return;
      if (await put(target, "", given || target.answer)) { // somebody may have replaced what this tab gave
        remembered.splice(0, remembered.length, ...remembered.filter(([other]) => other !== target.image_id));
        store();
        status.textContent = "Taken back: " + text + ".";
      }
      await turn(target.image_id);
    });
    const suggest = () => work(async () => { // that it was shown is written before it is
      if (!image || !image.suggestion) return;
      const { image_id, answer, suggestion } = image;
      const reply = await ask("api/labels?" + new URLSearchParams({ image_id, answer, seen: answer, suggested: true }), { method: "PUT" });
      if (reply.ok) byId("suggestion").textContent = suggestion;
      else status.textContent = await reason(reply);
    });
    const zoom = () => byId("zoom").setAttribute("aria-pressed", String(shown.classList.toggle("zoomed")));
    const next = () => work(async () => {
      if (image) return;
      status.textContent = "The next images are chosen.";
      const reply = await ask("api/rounds?number=" + round.number, { method: "POST" });
      if (!reply.ok) {
        status.textContent = await reason(reply);
        return;
      }
      take(await reply.json());
      status.textContent = round.notes;
      await turn();
    });
    const keys = { 0: () => answer("?"), u: undo, z: zoom, s: suggest };
    [["cannot", keys[0]], ["undo", undo], ["zoom", zoom], ["suggest", suggest], ["begin", next]].forEach(([id, action]) => byId(id).addEventListener("click", action));
    document.addEventListener("keydown", (event) => {
      if (!round || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
      const place = "123456789".indexOf(event.key), key = event.key.toLowerCase();
      if (place >= 0 && place < round.classes.length) answer("=" + round.classes[place]);
      else if (Object.hasOwn(keys, key)) keys[key]();
    });
    async function follow() {
      for (;;) {
        try {
          const asked = turns, answer = await (await ask("api/labels")).json();
          if (!round) {
            take(answer);
            status.textContent = round.notes;
            await turn();
            busy = false;
          } else if (!busy && asked === turns) {
            const other = round.number !== answer.number;
            take(answer); // what is shown keeps the answer that its person has seen
            if (other || (!image && round.images.some((one) => !one.answer))) await turn();
          }
          mend();
        } catch (error) { fail(error); }
        await pause(2);
      }
    }
    follow();
  }
  if (byId("round")) labelRound();
  if (!drop) return;

  const files = [], model = drop.dataset.model, known = byId("files").accept.split(",");
  let sending = false, sent = 0, others = 0;
  function refuse(name, why) {
    const line = document.createElement("li");
    line.textContent = name.concat(": ", why.startsWith(name + ": ") ? why.slice(name.length + 2) : why);
    refused.append(line);
  }
  function add(all) {
    const given = mpp.value.trim().replace(",", "."), { least, most } = mpp.dataset;
    if (given && !(Number(given) >= least && Number(given) <= most)) {
      status.textContent = "Nothing was added: give micrometres per pixel from " + least + " to " + most + ", such as 0.42, or nothing.";
      mpp.focus();
      return;
    }
    if (!sending) refused.replaceChildren();
    const named = all.filter(isImage);
    others += all.length - named.length;
    named.forEach(([name, file]) => {
      if (file.size > drop.dataset.bytes) refuse(name, "is larger than " + Math.floor(drop.dataset.bytes / 1048576) + " MB");
      else files.push([name, file, given]);
    });
    send();
  }
  async function send() {
    if (sending) return;
    for (sending = true; files.length;) {
      const [name, file, given] = files[0];
      status.textContent = "Sending " + name + (files.length > 1 ? ", " + (files.length - 1) + " more to send. Stay on this page until then." : ".");
      try {
        const answer = await ask("api/images?" + new URLSearchParams({ name, model, mpp: given }), { method: "POST", body: file });
        if (answer.ok) sent += 1;
        else refuse(name, await reason(answer));
      } catch (error) {
        if (await file.slice(0, 1).arrayBuffer().catch(() => false)) { // it stays in the queue until the page answers
          status.textContent = trouble(error) + " " + files.length + " still to send.";
          files.push(files.shift()); // so that none holds up the others
          await pause(2);
          continue;
        }
        refuse(name, "cannot be read any more; add it again");
      }
      files.shift();
    }
    sending = false;
    status.textContent = (sent || "No") + (sent > 1 ? " images were sent." : " image was sent.")
      + (others ? " Files left out, by their names not images: " + others + "." : "");
    sent = others = 0;
  }
  window.addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });

  async function look() {
    for (let lost = false; ;) {
      let busy = true;
      try {
        const queue = await (await ask("api/queue")).json();
        if (lost && !sending) status.textContent = "";
        lost = false;
        busy = queue.waiting + queue.working || sending;
        if (String(queue.version) !== results.firstElementChild.dataset.version) await show();
      } catch (error) {
        lost = true;
        if (!sending) status.textContent = trouble(error);
      }
      await pause(busy ? 1 : 3);
    }
  }
  async function show() {
    const text = await (await ask("results?model=" + model)).text();
    if (!text.includes("data-version=")) throw new Error("not the page");
    const focused = document.activeElement, chosen = results.querySelectorAll("#filters, #heads");
    results.innerHTML = text;
    chosen.forEach((old) => { if (byId(old.id)) byId(old.id).replaceWith(old); });
    window.arrange();
    (focused.isConnected ? focused : byId(focused.id) || document.body).focus();
  }

  const system = new RegExp("^(\\.|(" + drop.dataset.system + ")$)", "i"); // what `predict` leaves out of a folder, too
  const isImage = ([name]) => !name.includes("/") || (!name.split("/").some((part) => system.test(part)) && known.some((suffix) => name.toLowerCase().endsWith(suffix)));
  async function filesOf(entry, folder) {
    if (entry.isFile) return [[folder + entry.name, await new Promise((go, stop) => entry.file(go, stop))]];
    const reader = entry.createReader(), all = [];
    for (;;) {
      const some = await new Promise((go, stop) => reader.readEntries(go, stop));
      if (!some.length) return all;
      for (const inner of some) all.push(...await filesOf(inner, folder + entry.name + "/"));
    }
  }
  document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const named = await Promise.all(dropped.map((entry) => filesOf(entry, "")));
    add(named.flat());
  });
  [byId("files"), byId("folder")].forEach((field) => {
    field.disabled = false; // nobody would take what is chosen before
    field.addEventListener("change", () => {
      add([...field.files].map((file) => [file.webkitRelativePath || file.name, file]));
      field.value = "";
    });
  });
  look();
})();
