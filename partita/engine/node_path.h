// Exchange blocks that stay on the disk of the node where they were made: how they are named, and which may.
// decision 0020.
#pragma once

#include <string>
#include <string_view>

#include "partita/base/error.h"
#include "partita/plan/plan.h"

namespace partita {

// Where one worker's blocks lie.
struct NodePlace {
  std::string at;    // "10.0.0.2:4711/3f2a9c01": its server's address, and a name that no other worker has
  std::string root;  // its folder, as its own machine sees it
  bool operator==(const NodePlace&) const = default;
};

// "node://10.0.0.2:4711/3f2a9c01/exchange-0/…": what stands for a path where readers find a block.
struct NodePath {
  std::string host;
  int port = 0;
  std::string at, name;  // `name`: below the place's root

  static std::string Text(const NodePlace& place, std::string_view name) {
    return "node://" + place.at + "/" + std::string(name);
  }
  static bool Is(std::string_view path) { return path.starts_with("node://"); }
  static Result<NodePath> Parse(std::string_view path);
};
std::string ExchangeFolderName(int exchange);  // of a place

// Why what a stage leaves for exchanges must not be lost, and so goes to the run's own storage; "": it may
// stay on the nodes. A task that leaves anything else beside is never done twice.
std::string_view WhyOnStorage(const Plan& plan, int stage);
inline bool MayStayOnNodes(const Plan& plan, int stage) { return WhyOnStorage(plan, stage).empty(); }

}  // namespace partita
