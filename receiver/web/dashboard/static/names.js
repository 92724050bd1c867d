// The names of campaigns that other answers know by their id alone; each is asked for once.

import { Refused, get } from "./api.js";

const MOST = 60;
const names = new Map();

// Rows with a `title`: the campaign's name, or its id where it has none.
export async function titled(rows) {
  const wanted = [...new Set(rows.map((row) => row.campaign_id))].filter((id) => id !== null && !names.has(id));
  await Promise.allSettled(wanted.slice(0, MOST).map(learn));
  return rows.map((row) => ({ ...row, title: names.get(row.campaign_id) ?? row.campaign_id }));
}

async function learn(id) {
  names.set(id, await nameOf(id));
}

async function nameOf(id) {
  try {
    return (await get(`v1/campaigns/${encodeURIComponent(id)}`)).name;
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}
