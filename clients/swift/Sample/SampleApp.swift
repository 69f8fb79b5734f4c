// A sample app: sign in by the system's browser, list the accounts, switch, read a timeline, remove.

import AuthenticationServices
import BowerbirdClient
import SwiftUI

@main
struct SampleApp: App {
    @StateObject private var accounts = Accounts()

    var body: some Scene {
        WindowGroup {
            AccountSwitcherView().environmentObject(accounts)
        }
    }
}

/// What the views show. The kit keeps everything that must last; nothing here is a secret.
@MainActor
final class Accounts: NSObject, ObservableObject, ASWebAuthenticationPresentationContextProviding {
    // Your server, and the scheme that it knows (BOWERBIRD_MOBILE_SCHEME).
    private static let settings = BowerbirdClient.Settings(
        server: "https://your-app.com",
        redirect: "yourapp://auth-callback",
        namespace: "com.your-app"
    )

    @Published private(set) var all: [Account] = []
    @Published private(set) var active: Account?
    @Published private(set) var timeline: [String] = []
    @Published var problem: String?

    private var manager: AccountManager?
    private var browser: ASWebAuthenticationSession?

    override init() {
        super.init()
        do {
            manager = try AccountManager.open(settings: Self.settings, store: Store.system(service: "Your App"))
            show()
        } catch {
            problem = words(for: error)
        }
    }

    /// 1. Begin, and let the person sign in at their own server.
    func add(handle: String) async {
        await run { manager in
            let signIn = try await manager.beginSignIn(handle: handle)
            guard let url = URL(string: signIn.authUrl) else { return }
            guard let callback = try await self.open(url) else {
                try await manager.cancelSignIn()
                return
            }
            // 2. The kit checks the address, exchanges its code, and stores the session in the keychain.
            _ = try await manager.completeSignIn(callback: callback.absoluteString)
        }
    }

    /// 3. Switch: at once, without the network.
    func activate(_ account: Account) async {
        await run { manager in
            let client = try await manager.activate(account: account.id)
            try await self.read(client)
        }
    }

    func remove(_ account: Account) async {
        await run { manager in
            if try await manager.remove(account: account.id) == .onThisDevice {
                self.problem = "Removed here. The server could not be told; it ends the session by itself."
            }
        }
    }

    /// 4. For a background task: renews what is due, of every account.
    func renewInBackground() async {
        await run { manager in _ = try await manager.renewDue() }
    }

    private func read(_ client: AccountClient) async throws {
        let parameters = [Parameter(name: "limit", value: "20")]
        let answer = try await client.query(nsid: "app.bsky.feed.getTimeline", parameters: parameters)
        guard answer.status == 200 else {
            problem = "The timeline could not be read (\(answer.status))."
            return
        }
        let page = try JSONDecoder().decode(Timeline.self, from: answer.body)
        timeline = page.feed.map { "\($0.post.author.handle): \($0.post.record.text ?? "")" }
    }

    /// Each error says who must act.
    private func run(_ work: @escaping (AccountManager) async throws -> Void) async {
        guard let manager else { return }
        problem = nil
        do {
            try await work(manager)
        } catch ClientError.SignInRequired(let account, _, _) {
            let handle = manager.accounts().first { $0.id == account }?.handle ?? "this account"
            problem = "Please sign in again as \(handle)."
        } catch {
            problem = words(for: error)
        }
        show()
    }

    /// For the person. A `localizedDescription` of the kit's errors is for the log.
    private func words(for error: Error) -> String {
        switch error {
        case ClientError.Refused(_, _, let explanation, _): explanation
        case ClientError.Callback(_, let explanation): explanation
        case ClientError.Offline: "The server cannot be reached. Check the connection, then try again."
        case is ClientError: "That did not work. Please try again later."
        default: error.localizedDescription
        }
    }

    private func show() {
        all = manager?.accounts() ?? []
        active = manager?.active()
    }

    /// The system's browser; nil when the person closed it.
    private func open(_ url: URL) async throws -> URL? {
        try await withCheckedThrowingContinuation { continuation in
            let session = ASWebAuthenticationSession(url: url, callbackURLScheme: "yourapp") { callback, error in
                if let error, (error as? ASWebAuthenticationSessionError)?.code != .canceledLogin {
                    continuation.resume(throwing: error)
                } else {
                    continuation.resume(returning: callback)
                }
            }
            session.presentationContextProvider = self
            browser = session
            session.start()
        }
    }

    nonisolated func presentationAnchor(for session: ASWebAuthenticationSession) -> ASPresentationAnchor {
        ASPresentationAnchor()
    }
}

private struct Timeline: Decodable {
    struct Item: Decodable { let post: Post }
    struct Post: Decodable { let author: Author; let record: Record }
    struct Author: Decodable { let handle: String }
    struct Record: Decodable { let text: String? }
    let feed: [Item]
}

struct AccountSwitcherView: View {
    @EnvironmentObject private var accounts: Accounts
    @State private var handle = ""

    var body: some View {
        NavigationStack {
            List {
                if let problem = accounts.problem {
                    Text(problem).foregroundStyle(.red)
                }
                Section("Active Account") {
                    if let active = accounts.active {
                        Label(active.handle, systemImage: "checkmark.circle.fill")
                    }
                }
                Section("All Accounts") {
                    ForEach(accounts.all, id: \.id) { account in
                        Button {
                            Task { await accounts.activate(account) }
                        } label: {
                            HStack {
                                Text(account.handle)
                                Spacer()
                                if account.needsSignIn != nil {
                                    Image(systemName: "exclamationmark.triangle").accessibilityLabel("Needs a new sign-in")
                                } else if account.id == accounts.active?.id {
                                    Image(systemName: "checkmark").accessibilityLabel("Active")
                                }
                            }
                        }
                        .swipeActions {
                            Button("Remove", role: .destructive) { Task { await accounts.remove(account) } }
                        }
                    }
                }
                Section {
                    TextField("alice.bsky.social", text: $handle)
                        .textContentType(.username)
                        .autocorrectionDisabled()
                    Button("Add Account") { Task { await accounts.add(handle: handle) } }
                        .disabled(handle.isEmpty)
                }
                Section("Timeline") {
                    ForEach(Array(accounts.timeline.enumerated()), id: \.offset) { Text($0.element) }
                }
            }
            .navigationTitle("Accounts")
        }
    }
}
