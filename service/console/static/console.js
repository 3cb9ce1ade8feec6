// Shows the value of a chart under the pointer, or under the arrow keys, and moves the chosen tab into a narrow window.
// Pages work without it: each chart has a table.
"use strict";

for (const tabs of document.querySelectorAll(".screens, .tabs")) {
  const chosen = tabs.querySelector("[aria-current]");
  if (chosen && tabs.scrollWidth > tabs.clientWidth) {
    tabs.scrollLeft = chosen.offsetLeft - (tabs.clientWidth - chosen.offsetWidth) / 2;
  }
}

for (const drawing of document.querySelectorAll("svg[data-steps]")) {
  const steps = drawing.dataset.steps.split(";").map((step) => step.split("|"));
  const cursor = drawing.querySelector(".cursor");
  const output = drawing.closest("figure").querySelector("output");
  const resting = output.textContent;
  let chosen = steps.length - 1;

  const show = (number) => {
    chosen = Math.max(0, Math.min(steps.length - 1, number));
    const [x, time, balance] = steps[chosen];
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.classList.add("on");
    output.textContent = `${time}: ${balance}`;
  };
  const rest = () => {
    cursor.classList.remove("on");
    output.textContent = resting;
  };

  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width;
    const after = steps.findIndex((step) => Number(step[0]) > x);
    show((after < 0 ? steps.length : after) - 1);
  });
  drawing.addEventListener("pointerleave", rest);
  drawing.addEventListener("blur", rest);
  drawing.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -steps.length, End: steps.length };
    if (event.key in moves) {
      event.preventDefault();
      show(chosen + moves[event.key]);
    }
  });
}
