// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "BowerbirdClient",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "BowerbirdClient", targets: ["BowerbirdClient"])],
    targets: [
        // Made by build-xcframework.sh.
        .binaryTarget(name: "BowerbirdClientFFI", path: "BowerbirdClientFFI.xcframework"),
        .target(
            name: "BowerbirdClient",
            dependencies: ["BowerbirdClientFFI"],
            linkerSettings: [.linkedFramework("Security"), .linkedFramework("CoreFoundation")]
        ),
    ]
)
