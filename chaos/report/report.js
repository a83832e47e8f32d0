// Reads values of the charts at a time: pointer, finger, or arrow keys. The page is whole without it.
"use strict";
(() => {
  const source = document.getElementById("data");
  if (!source)
    return;
  const data = JSON.parse(source.textContent);
  const tip = document.querySelector(".tip");
  const last = data.samples.length - 1;

  const sampleAt = (time) => {
    let low = 0, high = last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.samples[middle][0] < time)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  };

  const round = (value, unit) =>
    value === null ? "–" : (value >= 10 || value === 0 ? Math.round(value).toLocaleString("en") : value.toFixed(value < 1 ? 2 : 1)) + unit;

  const moment = (time, end) => {
    if (end <= 120)
      return time.toFixed(1) + " s";
    const seconds = (time % 60).toFixed(1).padStart(4, "0");
    return Math.floor(time / 60) + ":" + seconds;
  };

  const leaderless = (time) => {
    const leader = new Map();
    for (const [at, shard, node] of data.leads) {
      if (at > time)
        break;
      leader.set(shard, node);
    }
    return [...leader].filter(([, node]) => node < 0).map(([shard]) => data.shards[shard]);
  };

  const words = (index, end) => {
    const [time, rate, failed, p50, p99, most] = data.samples[index];
    const lines = [moment(time, end), round(rate, " acknowledged/s")];
    if (failed > 0)
      lines.push(round(failed, " failed/s"));
    lines.push("p50 " + round(p50, " ms") + "  p99 " + round(p99, " ms"));
    if (most !== null)
      lines.push("slowest " + round(most, " ms"));
    const without = leaderless(time);
    if (without.length > 0)
      lines.push("no leader: shard " + without.slice(0, 8).join(", ") + (without.length > 8 ? " …" : ""));
    const faults = data.faults.filter(([, from, until]) => from <= time && time <= Math.max(until, from + 0.2));
    for (const [name] of faults.slice(0, 6))
      lines.push("fault " + name);
    return lines.join("\n");
  };

  for (const chart of document.querySelectorAll("svg.wide, svg.narrow")) {
    const [left, right, end] = ["left", "right", "end"].map((name) => Number(chart.dataset[name]));
    const cursor = chart.querySelector(".cursor");
    let index = 0;

    const hide = () => {
      tip.hidden = true;
      cursor.style.visibility = "hidden";
    };
    const show = (next) => {
      const box = chart.getBoundingClientRect();
      const frame = chart.parentElement.getBoundingClientRect();
      index = Math.min(Math.max(next, 0), last);
      const x = left + (right - left) * Math.min(data.samples[index][0] / end, 1);
      cursor.setAttribute("transform", "translate(" + x + " 0)");
      cursor.style.visibility = "visible";
      tip.textContent = words(index, end);
      tip.hidden = false;
      const at = box.left - frame.left + x * box.width / chart.viewBox.baseVal.width;
      const before = at + 16 + tip.offsetWidth > frame.width;
      tip.style.left = Math.max(before ? at - 16 - tip.offsetWidth : at + 16, 4) + "px";
    };
    const follow = (event) => {
      const box = chart.getBoundingClientRect();
      const x = (event.clientX - box.left) * chart.viewBox.baseVal.width / box.width;
      if (x < left - 4 || x > right + 4)
        return hide();
      show(sampleAt((x - left) / (right - left) * end));
      tip.style.top = Math.max(event.clientY - chart.parentElement.getBoundingClientRect().top - 60, 4) + "px";
    };
    chart.addEventListener("pointermove", follow);
    chart.addEventListener("pointerdown", follow);
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10}[event.key];
      if (step === undefined)
        return;
      event.preventDefault();
      tip.style.top = "40px";
      show(index + step);
    });
  }
})();
