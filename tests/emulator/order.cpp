/*
 * Happens-before by vector clocks.  Every byte range remembers who wrote it last and who has
 * read it since; an access by another that does not know of these is a fault.
 */
#include "tests/emulator/private.h"

#include <map>
#include <set>
#include <string>

namespace {

struct access {
	size_t who = 0;
	uint64_t time = 0;              /* 0: never */
	const char *what = nullptr;
};

struct range {
	uintptr_t end;
	access write;
	std::vector<access> reads;
};

std::map<uintptr_t, range> ranges;      /* by their first byte, without overlaps */
access foreign;                         /* the last work that another process ends */

const char *keep(const char *text)
{
	static std::set<std::string> texts;

	return texts.insert(text).first->c_str();
}

/* A range boundary at that address, if it lies inside one. */
void cut(uintptr_t at)
{
	auto r = ranges.upper_bound(at);

	if (r == ranges.begin())
		return;
	--r;
	if (r->first < at && at < r->second.end) {
		range rest = r->second;

		r->second.end = at;
		ranges.emplace(at, rest);
	}
}

void check(const emu_clock &clock, const access &then, const char *what, const char *verb)
{
	if (then.time > clock.at(then.who))
		emu_fault("%s %s what %s of another stream uses, and nothing orders the two", what,
			  verb, then.what);
}

void note(range &r, const emu_clock &clock, const access &now, bool write)
{
	check(clock, r.write, now.what, write ? "writes" : "reads");
	if (!write) {
		for (access &a : r.reads)
			if (a.who == now.who) {
				a = now;
				return;
			}
		r.reads.push_back(now);
		return;
	}
	for (const access &a : r.reads)
		check(clock, a, now.what, "writes");
	r.reads.clear();
	r.write = now;
}

} // namespace

void emu_clock::join(const emu_clock &other)
{
	if (time.size() < other.time.size())
		time.resize(other.time.size());
	for (size_t i = 0; i < other.time.size(); i++)
		if (time[i] < other.time[i])
			time[i] = other.time[i];
}

void emu_clock::tick(size_t who)
{
	if (time.size() <= who)
		time.resize(who + 1);
	time[who]++;
}

void emu_order_access(const emu_clock &clock, size_t who, const void *p, size_t bytes, bool write,
		      const char *what)
{
	access now{who, clock.at(who), keep(what)};
	uintptr_t at = (uintptr_t)p, end = at + bytes;

	cut(at);
	cut(end);
	while (at < end) {
		auto r = ranges.lower_bound(at);

		if (r == ranges.end() || r->first > at) {
			uintptr_t gap = r == ranges.end() || r->first > end ? end : r->first;

			r = ranges.emplace(at, range{gap, {}, {}}).first;
		}
		note(r->second, clock, now, write);
		at = r->second.end;
	}
}

void emu_order_forget(const void *p, size_t bytes)
{
	uintptr_t at = (uintptr_t)p, end = at + bytes;

	cut(at);
	cut(end);
	ranges.erase(ranges.lower_bound(at), ranges.lower_bound(end));
}

void emu_foreign_note(size_t who, uint64_t time)
{
	foreign = {who, time, NULL};
}

void emu_foreign_check(const emu_clock &clock, const emu_clock &host, const char *call)
{
	if (foreign.time && clock.at(foreign.who) >= foreign.time &&
	    host.at(foreign.who) < foreign.time)
		emu_fault("%s waits for another process, which may be gone", call);
}

void emu_foreign_over(void)
{
	foreign = {};
}
