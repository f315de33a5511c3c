#pragma once
/// \file
/// The version of linden, for the preprocessor. It follows semantic versioning and equals the version of the CMake
/// project; configuring fails when the two differ.

/// Grows when an interface changes in a way that breaks its users.
#define LINDEN_VERSION_MAJOR 0
/// Grows when something is added.
#define LINDEN_VERSION_MINOR 1
/// Grows when something is mended.
#define LINDEN_VERSION_PATCH 0

/// One number that grows with the version: `#if LINDEN_VERSION >= 10200` asks for 1.2.0 or later.
#define LINDEN_VERSION (LINDEN_VERSION_MAJOR * 10000 + LINDEN_VERSION_MINOR * 100 + LINDEN_VERSION_PATCH)
