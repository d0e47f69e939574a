(function () {
  "use strict";
  var drop = document.getElementById("drop"), status = document.getElementById("status");
  var draw = document.getElementById("draw");
  if (draw) draw.addEventListener("click", function () { status.textContent = "Drawing the heat map."; });
  if (!drop) return;
  var csrf = document.querySelector("meta[name=csrf]").content, results = document.getElementById("results");
  var refused = document.getElementById("refused"), mpp = document.getElementById("mpp");
  var model = drop.dataset.model, most = Number(drop.dataset.bytes), files = [], sending = false, sent = 0;
  var pause = function (seconds) { return new Promise(function (go) { setTimeout(go, 1000 * seconds); }); };

  function ask(path, options) {
    options = options || {};
    options.headers = { "X-CSRF": csrf };
    return fetch(path, options);
  }
  function refuse(name, why) {
    var line = document.createElement("li");
    line.textContent = name + ": " + why;
    refused.append(line);
  }
  function add(list) {
    Array.prototype.forEach.call(list, function (file) {
      var name = file.webkitRelativePath ? file.webkitRelativePath.replace(/^[^/]*\//, "") : file.fullName || file.name;
      if (file.size > most) refuse(name, "is larger than " + Math.floor(most / 1048576) + " MB");
      else files.push([name, file]);
    });
    send();
  }
  async function send() {
    if (sending) return;
    sending = true;
    while (files.length) {
      var next = files.shift();
      status.textContent = "Sending " + next[0] + (files.length ? ", " + files.length + " more to send." : ".");
      await sendOne(next[0], next[1]);
    }
    sending = false;
    if (!sent) return;
    status.textContent = sent + (sent === 1 ? " image was sent." : " images were sent.");
    look();
  }
  async function sendOne(name, file) {
    var query = new URLSearchParams({ name: name, model: model });
    if (mpp.value) query.set("mpp", mpp.value);
    for (var failures = 0; ;) {
      var said = "";
      try {
        var queue = await (await ask("/api/queue")).json();
        said = queue.waiting + " images are waiting; " + name + " is sent when there is room.";
        if (queue.room) {
          var answer = await ask("/api/images?" + query, { method: "POST", body: file });
          if (answer.ok) { sent += 1; look(); return; }
          if (answer.status !== 429) {
            var why = (await answer.json()).detail;
            refuse(name, typeof why === "string" ? why : why[0].loc.slice(-1) + " " + why[0].msg);
            return;
          }
        }
      } catch (error) {
        if (++failures > 5) { refuse(name, "the page does not answer"); return; }
      }
      if (said) status.textContent = said;
      await pause(2);
    }
  }

  var looking = false, version = "";
  async function look() {
    if (looking) return;
    looking = true;
    try {
      for (;;) {
        var queue = await (await ask("/api/queue")).json();
        if (String(queue.version) !== version) await show();
        if (!queue.waiting && !queue.working && !sending) break;
        await pause(1);
      }
    } catch (error) {
      status.textContent = "The page does not answer: is bchisto serve still running?";
    }
    looking = false;
  }
  async function show() {
    var text = await (await ask("/results?model=" + model)).text();
    var focused = document.activeElement && results.contains(document.activeElement) ? document.activeElement.id : "";
    var chosen = CHOICES.map(function (id) { return choice(id); });
    results.innerHTML = text;
    CHOICES.forEach(function (id, at) { var field = document.getElementById(id); if (field && chosen[at]) field.value = chosen[at]; });
    arrange();
    version = results.firstElementChild.dataset.version;
    if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
  }
  results.addEventListener("click", async function (event) {
    if (event.target.id !== "remove" || !window.confirm("Remove all images from this page?")) return;
    await ask("/api/images?model=" + model, { method: "DELETE" });
    sent = 0;
    status.textContent = "All images were removed.";
    await show();
  });

  var CHOICES = ["of-class", "of-mark", "order"];
  function choice(id) {
    var field = document.getElementById(id);
    return field ? field.value : "";
  }
  function arrange() {
    var body = document.querySelector("#images tbody"), bar = document.getElementById("choose"), shown = 0;
    if (!body) return;
    bar.hidden = false;
    var rows = Array.prototype.slice.call(body.rows), order = choice("order");
    rows.forEach(function (row, at) { if (!row.dataset.rank) row.dataset.rank = at; });
    rows.sort(function (first, second) {
      if (order === "name") return first.dataset.name.localeCompare(second.dataset.name, undefined, { numeric: true });
      return (order === "most" ? -1 : 1) * (first.dataset.rank - second.dataset.rank);
    });
    rows.forEach(function (row) {
      var wanted = choice("of-class");
      row.hidden = Boolean(wanted && row.dataset.class !== wanted) || Boolean(choice("of-mark") && !row.classList.contains("marked"));
      shown += !row.hidden;
      body.append(row);
    });
    document.getElementById("shown").textContent = shown === rows.length ? "" : shown + " of " + rows.length + " images shown";
  }
  results.addEventListener("change", function (event) { if (CHOICES.indexOf(event.target.id) >= 0) arrange(); });
  arrange();

  async function entries(entry, path) {
    if (entry.isFile) {
      var file = await new Promise(function (go, stop) { entry.file(go, stop); });
      file.fullName = path + file.name;
      return [file];
    }
    var reader = entry.createReader(), all = [], some;
    do {
      some = await new Promise(function (go, stop) { reader.readEntries(go, stop); });
      for (var at = 0; at < some.length; at++) {
        all = all.concat(await entries(some[at], some[at].isFile ? path : path + some[at].name + "/"));
      }
    } while (some.length);
    return all;
  }
  drop.addEventListener("dragover", function (event) { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", function () { drop.classList.remove("over"); });
  drop.addEventListener("drop", async function (event) {
    event.preventDefault();
    drop.classList.remove("over");
    var dropped = Array.prototype.map.call(event.dataTransfer.items, function (item) { return item.webkitGetAsEntry() || item.getAsFile(); });
    for (var at = 0; at < dropped.length; at++) {
      if (dropped[at] instanceof File) add([dropped[at]]);
      else if (dropped[at]) add(await entries(dropped[at], ""));
    }
  });
  ["files", "folder"].forEach(function (id) {
    document.getElementById(id).addEventListener("change", function (event) {
      add(event.target.files);
      event.target.value = "";
    });
  });
  version = results.firstElementChild.dataset.version;
  if (Number(results.firstElementChild.dataset.busy)) look();
})();
