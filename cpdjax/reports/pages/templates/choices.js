// What happens on the page: choices, the pointer, keys.
const LISTED = 15;

for (const [id, names] of [["channel", data.channels], ["target", data.targets]]) {
  names.forEach(({ name }, i) => by_id(id).append(new Option(name, i)));
  by_id(id).disabled = names.length === 1;
}

function show() {
  const t = Number(by_id("target").value), target = data.targets[t];
  const channel = data.channels[Number(by_id("channel").value)], score = channel.scores[t];
  const as_scored = by_id("view").value === "scored";
  Object.assign(now, {
    target, score,
    x: as_scored ? target.value : target.value.map((y, i) => y - target.composition[i]),
    y: as_scored ? score.prediction : score.prediction.map((y, i) => y - target.mean[i]),
    labels: as_scored
      ? [target.name, `prediction of ${target.name} from the residual`]
      : [`${target.name}, less what composition predicts`, "prediction from the residual, less the mean"],
    order: [...Array(COUNT).keys()].sort((a, b) => score.contribution[b] - score.contribution[a]),
  });
  const few = score.few === 1 ? "molecule" : `${score.few.toLocaleString("en")} molecules`;
  by_id("score").textContent =
    `R²_geom ${signed(score.r2_geom ?? NaN)} (mean over folds); R²_comp ${signed(target.r2_comp ?? NaN)}; both together ${signed(score.r2_both ?? NaN)}. ` +
    `The ${few} that carry it most: ${signed(score.added ?? NaN)}; the ${few} that cost it most: ${signed(score.taken ?? NaN)}.`;
  list("carry", now.order.slice(0, LISTED));
  list("cost", now.order.slice(-LISTED).reverse());
  choose(now.chosen < 0 ? now.order[0] : now.chosen);
}

function list(id, molecules) {
  const heads = ["molecule", "target", "predicted", "adds to R²_geom"];
  const table = by_id(id), head = document.createElement("thead"), body = document.createElement("tbody");
  const row = head.insertRow();
  heads.forEach((text, column) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    cell.className = column ? "number" : "";
    row.append(cell);
  });
  for (const i of molecules) {
    const own = body.insertRow(), button = document.createElement("button");
    own.dataset.molecule = i;
    button.type = "button";
    button.textContent = data.molecules.formula[i];
    button.addEventListener("click", () => choose(i));
    own.insertCell().append(button);
    for (const text of [signed(now.target.value[i], 4), signed(now.score.prediction[i], 4), signed(now.score.contribution[i], 2)]) {
      const cell = own.insertCell();
      cell.textContent = text;
      cell.className = "number";
    }
  }
  table.replaceChildren(head, body);
}

function choose(i) {
  now.chosen = i;
  shape = shape_of(i);
  const rank = now.order.indexOf(i) + 1, names = data.molecules;
  const facts = [
    ["formula", names.formula[i]],
    ["id", names.id[i]],
    ...(names.smiles ? [["SMILES", names.smiles[i]]] : []),
    [now.target.name, signed(now.target.value[i], 5)],
    ["from the residual", signed(now.score.prediction[i], 5)],
    ["from composition", signed(now.target.composition[i], 5)],
    ["adds to R²_geom", `${signed(now.score.contribution[i], 2)} (rank ${rank.toLocaleString("en")} of ${COUNT.toLocaleString("en")})`],
  ];
  by_id("facts").replaceChildren(...facts.map(([name, fact]) => {
    const pair = document.createElement("div");
    for (const [tag, text] of [["dt", name], ["dd", fact]]) {
      pair.append(Object.assign(document.createElement(tag), { textContent: text }));
    }
    return pair;
  }));
  for (const row of document.querySelectorAll("tr[data-molecule]")) {
    row.classList.toggle("chosen", Number(row.dataset.molecule) === i);
  }
  draw_points();
  draw_molecule();
}

// What is under the pointer.
function tell(i) {
  const tip = by_id("tip");
  tip.hidden = i < 0;
  if (i < 0) return;
  const { u, v } = spot(i), { width } = points.getBoundingClientRect();
  const values = [now.target.value[i], now.score.prediction[i]].map((value) => signed(value, 4));
  tip.textContent = `${data.molecules.formula[i]}\n${values[0]}, predicted ${values[1]}`;
  tip.style.top = `${v + 10}px`;
  Object.assign(tip.style, u < width / 2 ? { left: `${u + 10}px`, right: "" } : { left: "", right: `${width - u + 10}px` });
}

function mark() {
  const wanted = by_id("search").value.trim().toLowerCase(), names = data.molecules;
  const texts = (i) => [names.formula[i], names.id[i], names.smiles ? names.smiles[i] : ""];
  const found = [...Array(COUNT).keys()].filter((i) => texts(i).some((text) => text.toLowerCase().includes(wanted)));
  now.marked = new Set(wanted ? found : []);
  draw_points();
}

const points = by_id("points"), molecule = by_id("molecule");
for (const id of ["channel", "target", "view"]) by_id(id).addEventListener("change", show);
by_id("search").addEventListener("input", mark);
by_id("choices").addEventListener("submit", (event) => {
  event.preventDefault();
  if (now.marked.size) choose(now.order.find((i) => now.marked.has(i)));
});
points.addEventListener("click", (event) => {
  const found = nearest(event, 20);
  if (found >= 0) choose(found);
});
points.addEventListener("pointermove", (event) => tell(nearest(event, 8)));
points.addEventListener("pointerleave", () => tell(-1));
points.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const rank = now.order.indexOf(now.chosen) + step;
  if (rank >= 0 && rank < COUNT) choose(now.order[rank]);
});
molecule.addEventListener("pointerdown", (event) => molecule.setPointerCapture(event.pointerId));
molecule.addEventListener("pointermove", (event) => {
  if (event.buttons) turn(event.movementX / 120, event.movementY / 120);
});
molecule.addEventListener("keydown", (event) => {
  const step = { ArrowRight: [0.15, 0], ArrowLeft: [-0.15, 0], ArrowDown: [0, 0.15], ArrowUp: [0, -0.15] }[event.key];
  if (!step) return;
  event.preventDefault();
  turn(...step);
});
addEventListener("resize", () => { draw_points(); draw_molecule(); });
for (const [parts, text] of [[CARRIES, "carries the score"], [NEITHER, "neither"], [COSTS, "costs the score"]]) {
  const dot = document.createElement("i");
  dot.style.background = `rgb(${parts.join(" ")})`;
  by_id("key").append(dot, text);
}
show();
